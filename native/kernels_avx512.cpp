#include "isa_avx512.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_avx512() {
    static constexpr Kernels found = table<Avx512>("avx512-vnni");
    return &found;
}

}  // namespace auricle
