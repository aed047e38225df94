// The product of a few rows with dense weights: see Kernels::dense.
#pragma once

#include "kernels.hpp"

namespace auricle {

// All of it, all threads together.
void dense(const DenseMatrix& w, const DenseRows& x, const Output& to);

// The same in items, for `run_phases`.
int dense_items(int out);
void dense_item(const DenseMatrix& w, const DenseRows& x, const Output& to, int item);

}  // namespace auricle
