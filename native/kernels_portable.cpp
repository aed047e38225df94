#include "isa_portable.hpp"
#include "table.inl"

namespace auricle {

const Kernels* kernels_portable() {
    static constexpr Kernels found = table<Portable>("portable");
    return &found;
}

}  // namespace auricle
