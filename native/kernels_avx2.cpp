#include "isa_avx2.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_avx2() {
    static constexpr Kernels found = table<Avx2>("avx2");
    return &found;
}

}  // namespace auricle
