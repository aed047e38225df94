// How packed weights lie in memory. Written by auricle/quant/int4.py and int8.py, read by the kernels.
//
// Sixteen output rows are interleaved, so that a vector's lanes are rows: no sum across lanes is ever needed, and every
// word of four activations is broadcast once for sixteen rows. Inputs go in groups of 32; both extents are padded.
//
//   int8  a group is 8 words of 64 bytes: byte 4 * lane + b of word w is the weight of input 4 * w + b
//   int4  a group is 4 vectors of 64 bytes: byte 4 * lane + b of vector v holds input 4 * v + b in its low nibble and
//         input 16 + 4 * v + b in its high one, each weight raised by 8
//
// Scales: int8 one float for each row, `(blocks, 16)`; int4 one half for each row and group, `(blocks, groups, 16)`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace auricle {

constexpr int kLanes = 16;   // output rows of a block
constexpr int kGroup = 32;   // inputs that share a scale
constexpr int kWords = 8;    // words of four inputs in a group
constexpr int kWord = 64;    // bytes of such a word of all lanes

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

enum class Bits { four = 4, eight = 8 };
enum class Dtype { f32, bf16 };

constexpr size_t number_bytes(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

// A packed weight matrix, `(out, in)`.
struct Packed {
    const uint8_t* weight = nullptr;
    const void* scales = nullptr;  // int4: half, int8: float
    int out = 0, in = 0;
    Bits bits = Bits::four;

    int blocks() const { return (out + kLanes - 1) / kLanes; }
    int groups() const { return (in + kGroup - 1) / kGroup; }
    size_t group_bytes() const { return bits == Bits::four ? 256 : 512; }
};

// Rows of activations, quantised in groups of 32: x = scale * q, q in [-127, 127].
struct Quantised {
    int8_t* q = nullptr;       // (rows, groups * 32)
    float* scales = nullptr;   // (rows, groups)
    int32_t* sums = nullptr;   // (rows, groups): of q, to take back what raised the weights
    int groups = 0;
};

}  // namespace auricle
