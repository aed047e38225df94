// The product of a few rows with dense bfloat16 weights, all threads together: see Kernels::dense.
#pragma once

#include "kernels.hpp"

namespace auricle {

void dense(const Dense& d);

}  // namespace auricle
