#include "dense.hpp"

#include <algorithm>

#include "team.hpp"

namespace auricle {

void dense(const Dense& d, const Output& to) {
    run_phases(
        1, [&](int) { return dense_items(d.out); }, [&](int, int item, Scratch&) { dense_item(d, to, item); });
}

int dense_items(int out) { return (out + kDenseOutputs - 1) / kDenseOutputs; }

void dense_item(const Dense& d, const Output& to, int item) {
    const int first = item * kDenseOutputs;
    kernels().dense(d, to, first, std::min(kDenseOutputs, d.out - first));
}

}  // namespace auricle
