#include "isa_avx512.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_avx512_bf16() {
    static constexpr Kernels found = table<Avx512>("avx512-vnni-bf16");
    return &found;
}

}  // namespace auricle
