#include "isa_avx2.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_avx2_vnni() {
    static constexpr Kernels found = table<Avx2>("avx2-vnni");
    return &found;
}

}  // namespace auricle
