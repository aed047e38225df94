#include "dense.hpp"

#include <algorithm>

#include "team.hpp"

namespace auricle {

void dense(const Dense& d) {
    const int items = (d.out + kDenseOutputs - 1) / kDenseOutputs;
    run_phases(
        1, [=](int) { return items; },
        [&](int, int item, Scratch&) {
            const int first = item * kDenseOutputs;
            kernels().dense(d, first, std::min(kDenseOutputs, d.out - first));
        });
}

}  // namespace auricle
