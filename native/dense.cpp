#include "dense.hpp"

#include <algorithm>

#include "team.hpp"

namespace auricle {

void dense(const DenseMatrix& w, const DenseRows& x, const Output& to) {
    run_phases(
        1, [&](int) { return dense_items(w.out); }, [&](int, int item, Scratch&) { dense_item(w, x, to, item); });
}

int dense_items(int out) { return (out + kDenseOutputs - 1) / kDenseOutputs; }

void dense_item(const DenseMatrix& w, const DenseRows& x, const Output& to, int item) {
    const int first = item * kDenseOutputs;
    kernels().dense(w, x, to, first, std::min(kDenseOutputs, w.out - first));
}

}  // namespace auricle
