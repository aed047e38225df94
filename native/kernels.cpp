#include "kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#ifdef AURICLE_X86
#include <cpuid.h>
#endif
#if defined(AURICLE_NEON) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace auricle {
namespace {

struct Candidate {
    const Kernels* (*get)();
    bool (*runs)();
};

#ifdef AURICLE_X86
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

// Some compilers know F16C and AVX-VNNI by no name: they are bits of what the processor says of itself.
bool has_avx2() {
    unsigned a, b, c, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && c >> 29 & 1;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
}

bool has_avx2_vnni() {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}
#endif

#ifdef AURICLE_NEON
bool has_dot_products() {
#ifdef __linux__
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return true;  // as every Apple processor
#endif
}
#endif

// From the best to the plainest; which of them were built depends on the processor that they were built for.
const Candidate kCandidates[] = {
#ifdef AURICLE_X86
    {kernels_avx512_bf16, [] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }},
    {kernels_avx512, has_avx512},
    {kernels_avx2_vnni, has_avx2_vnni},
    {kernels_avx2, has_avx2},
#endif
#ifdef AURICLE_NEON
    {kernels_neon, has_dot_products},
#endif
    {kernels_portable, [] { return true; }},
};

const Kernels& choose() {
    const char* named = std::getenv("AURICLE_KERNELS");
    std::string known;
    for (const Kernels* found : runnable_kernels()) {
        if (!named || !*named || found->name == std::string(named)) return *found;
        known.append(known.empty() ? "" : ", ").append(found->name);
    }
    throw std::invalid_argument("AURICLE_KERNELS is " + std::string(named) + "; this processor runs " + known);
}

}  // namespace

std::vector<const Kernels*> runnable_kernels() {
    std::vector<const Kernels*> found;
    for (const auto& candidate : kCandidates)
        if (candidate.runs()) found.push_back(candidate.get());
    return found;
}

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

}  // namespace auricle
