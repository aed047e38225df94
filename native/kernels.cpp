#include "kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace auricle {
namespace {

struct Candidate {
    const Kernels* (*get)();
    bool (*runs)();
};

// From the best to the plainest; which of them were built depends on the processor that they were built for.
#ifdef AURICLE_X86
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

const Candidate kCandidates[] = {
#ifdef AURICLE_X86
    {kernels_avx512_bf16, [] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }},
    {kernels_avx512, has_avx512},
    {kernels_avx2_vnni,
     [] {
         return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                __builtin_cpu_supports("avxvnni");
     }},
    {kernels_avx2,
     [] {
         return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
     }},
#endif
#ifdef AURICLE_NEON
    {kernels_neon, [] { return true; }},
#endif
    {kernels_portable, [] { return true; }},
};

const Kernels& choose() {
    const char* named = std::getenv("AURICLE_KERNELS");
    std::string known;
    for (const auto& candidate : kCandidates) {
        const Kernels& found = *candidate.get();
        if (!candidate.runs()) continue;
        if (!named || !*named || found.name == std::string(named)) return found;
        known += (known.empty() ? "" : ", ") + std::string(found.name);
    }
    throw std::invalid_argument("AURICLE_KERNELS is " + std::string(named) + "; this processor runs " + known);
}

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

}  // namespace auricle
