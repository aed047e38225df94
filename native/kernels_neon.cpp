#include "isa_neon.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_neon() {
    static constexpr Kernels found = table<Neon>("neon");
    return &found;
}

}  // namespace auricle
