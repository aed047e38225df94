// Every table of functions that this processor runs, against plain loops in double. It needs no Python, so that it also
// runs where a processor is only emulated:
//
//   cmake -S native -B build/kernels -DAURICLE_TESTS=ON && cmake --build build/kernels && build/kernels/test_kernels
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels.hpp"

using namespace auricle;

namespace {

using Floats = std::vector<float>;

int checks = 0, failures = 0;
std::string checking;

void expect(bool holds, double given, double exact) {
    checks++;
    if (!holds && ++failures <= 20) std::printf("%s: %.9g, not %.9g\n", checking.c_str(), given, exact);
}

void near(double given, double exact, double bound) { expect(std::fabs(given - exact) <= bound, given, exact); }

std::mt19937 numbers(1);

Floats random(size_t count, float size = 1) {
    std::normal_distribution<float> normal;
    Floats made(count);
    for (float& x : made) x = size * normal(numbers);
    return made;
}

int below(int end) { return std::uniform_int_distribution<int>(0, end - 1)(numbers); }

uint16_t to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bf16(uint16_t half) {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

double half(uint16_t h) {
    const double size = (h >> 10 & 31) ? std::ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25) : std::ldexp(h & 1023, -24);
    return h >> 15 ? -size : size;
}

// Numbers of one of the two types, and what they are as floats.
struct Typed {
    Typed(Floats x, Dtype of) : dtype(of), floats(std::move(x)), halves(floats.size()) {
        for (size_t i = 0; i < floats.size(); i++) halves[i] = to_bf16(floats[i]);
    }
    void* data() { return dtype == Dtype::f32 ? static_cast<void*>(floats.data()) : halves.data(); }
    float operator[](size_t i) const { return dtype == Dtype::f32 ? floats[i] : from_bf16(halves[i]); }

    Dtype dtype;
    Floats floats;
    std::vector<uint16_t> halves;
};

double step(Dtype dtype) { return dtype == Dtype::f32 ? 0 : 1.0 / 256; }  // bfloat16 rounds by half of it

// --- products

struct Matrix {
    Matrix(Bits bits, int out, int in) {
        packed.out = out, packed.in = in, packed.bits = bits;
        const size_t groups = static_cast<size_t>(packed.blocks()) * packed.groups();
        bytes.resize(groups * packed.group_bytes());
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(bits == Bits::four ? below(256) : below(255) - 127);
        floats = random(static_cast<size_t>(packed.blocks()) * kLanes);
        halves.resize(groups * kLanes);
        for (uint16_t& h : halves) h = static_cast<uint16_t>(below(0x3c00) | below(2) << 15);  // within 1, tiny ones too
        packed.weight = bytes.data();
        packed.scales = bits == Bits::four ? static_cast<const void*>(halves.data()) : floats.data();
    }
    double at(int row, int column) const {
        const int block = row / kLanes, lane = row % kLanes, group = column / kGroup, i = column % kGroup;
        const size_t place = static_cast<size_t>(block) * packed.groups() + group;
        const uint8_t* p = bytes.data() + place * packed.group_bytes();
        if (packed.bits == Bits::eight) {
            return static_cast<int8_t>(p[i / 4 * kWord + 4 * lane + i % 4]) * static_cast<double>(floats[row]);
        }
        const uint8_t both = p[i % 16 / 4 * kWord + 4 * lane + i % 4];
        return ((i < 16 ? both & 15 : both >> 4) - 8) * half(halves[place * kLanes + lane]);
    }

    Packed packed;
    std::vector<uint8_t> bytes;
    std::vector<uint16_t> halves;
    Floats floats;
};

// What `quantise` has to make of a row's group: the kernels round in float, ties to even.
void check_group(const Typed& x, size_t begin, int count, const int8_t* q, float scale, int32_t sum) {
    float highest = 0;
    for (int i = 0; i < count; i++) highest = std::max(highest, std::fabs(x[begin + i]));
    const float inverse = highest > 1e-36f ? 127.0f / highest : 0;
    int32_t total = 0;
    for (int i = 0; i < kGroup; i++) {
        const float exact = i < count ? std::nearbyint(x[begin + i] * inverse) : 0;
        expect(q[i] == exact, q[i], exact);
        total += q[i];
    }
    expect(scale == highest / 127.0f, scale, highest / 127.0f);
    expect(sum == total, sum, total);
}

void check_product(const Kernels& k, const Matrix& m, Typed x, int rows) {
    const int in = m.packed.in, out = m.packed.out, groups = m.packed.groups();
    const auto cells = static_cast<size_t>(rows) * groups;
    std::vector<int8_t> q(cells * kGroup);
    Floats scales(cells), scratch(kPanelScratch), bias = random(out);
    std::vector<int32_t> sums(cells);
    const Quantised quantised{q.data(), scales.data(), sums.data(), groups};
    const size_t row_bytes = static_cast<size_t>(in) * number_bytes(x.dtype);
    for (int r = 0; r < rows; r++) {
        k.quantise(static_cast<uint8_t*>(x.data()) + r * row_bytes, x.dtype, in, {}, r, quantised);
        for (int g = 0; g < groups; g++) {
            const size_t at = static_cast<size_t>(r) * groups + g;
            check_group(x, static_cast<size_t>(r) * in + g * kGroup, std::min(kGroup, in - g * kGroup), &q[at * kGroup],
                        scales[at], sums[at]);
        }
    }
    Typed y(Floats(static_cast<size_t>(rows) * out, 7.0f), x.dtype);
    Output to;
    to.data = y.data(), to.dtype = x.dtype, to.stride = out, to.bias = bias.data();
    for (int block = 0; block < m.packed.blocks(); block += kPanel)
        k.product(m.packed, quantised, 0, rows, block, std::min(kPanel, m.packed.blocks() - block), to, scratch.data());
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < out; o++) {
            double exact = bias[o], size = std::fabs(bias[o]);
            for (int i = 0; i < in; i++) {
                const size_t at = static_cast<size_t>(r) * groups + i / kGroup;
                const double product = m.at(o, i) * scales[at] * q[at * kGroup + i % kGroup];
                exact += product, size += std::fabs(product);
            }
            near(y[static_cast<size_t>(r) * out + o], exact, 2e-6 * size + step(x.dtype) * std::fabs(exact) + 1e-37);
        }
}

void check_products(const Kernels& k) {
    for (const Bits bits : {Bits::four, Bits::eight})
        for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
            for (const int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 31})
                check_product(k, {bits, 81, 70}, {random(static_cast<size_t>(rows) * 70), dtype}, rows);
            for (const int out : {1, 15, 16, 17, 63, 64, 65})
                for (const int in : {1, 15, 16, 17, 31, 32, 33, 600})
                    for (const int rows : {1, 12})
                        check_product(k, {bits, out, in}, {random(static_cast<size_t>(rows) * in), dtype}, rows);
            for (const float size : {0.0f, 1e-45f, 1e-38f, 1e-30f, 1e30f})
                check_product(k, {bits, 17, 70}, {random(9 * 70, size), dtype}, 9);
        }
}

// 127 times 127 throughout: no sum of two products may overflow 16 bits.
void check_largest(const Kernels& k) {
    Matrix m(Bits::eight, 16, 2048);
    Floats x(12 * 2048);
    for (uint8_t& b : m.bytes) b = static_cast<uint8_t>(below(2) ? 127 : -127);
    for (int i = 0; i < 12 * 2048; i++) x[i] = m.at(i / 2048, i % 2048) / m.floats[i / 2048] > 0 ? 127.0f : -127.0f;
    for (const int rows : {1, 8, 12}) check_product(k, m, {x, Dtype::f32}, rows);
}

void check_not_finite(const Kernels& k) {
    const Matrix m(Bits::eight, 16, 70);
    for (const float odd : {NAN, INFINITY, -INFINITY})
        for (const int at : {0, 31, 69}) {
            Floats x = random(70), y(16), scales(3), scratch(kPanelScratch);
            std::vector<int8_t> q(96);
            std::vector<int32_t> sums(3);
            x[at] = odd;
            const Quantised quantised{q.data(), scales.data(), sums.data(), 3};
            k.quantise(x.data(), Dtype::f32, 70, {}, 0, quantised);
            Output to;
            to.data = y.data(), to.stride = 16;
            k.product(m.packed, quantised, 0, 1, 0, 1, to, scratch.data());
            for (const float value : y) expect(std::isnan(value), value, NAN);
            k.quantise(x.data(), Dtype::f32, 70, {-1, 1}, 0, quantised);
            expect(std::isnan(odd) == std::isnan(scales[0]), scales[0], odd);
        }
}

// --- rows

void check_tables(const Kernels& k) {
    for (const int width : {32, 96}) {
        std::vector<uint8_t> bytes(3 * width);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(below(256));
        std::vector<uint16_t> halves(3 * width / kGroup);
        for (uint16_t& h : halves) h = static_cast<uint16_t>(below(0x7c00));
        const Floats scales = random(3);
        Floats y(width);
        for (int row = 0; row < 3; row++) {
            k.unpack_row(bytes.data(), scales.data(), Bits::eight, width, row, 3.5f, y.data());
            for (int i = 0; i < width; i++) {
                const double exact = static_cast<int8_t>(bytes[row * width + i]) * 3.5 * scales[row];
                near(y[i], exact, 2e-7 * std::fabs(exact));
            }
            k.unpack_row(bytes.data(), halves.data(), Bits::four, width, row, 3.5f, y.data());
            for (int i = 0; i < width; i++) {
                const uint8_t both = bytes[row * width / 2 + i / kGroup * 16 + i % 16];
                const double scale = half(halves[row * width / kGroup + i / kGroup]);
                const double exact = ((i % kGroup < 16 ? both & 15 : both >> 4) - 8) * 3.5 * scale;
                near(y[i], exact, 2e-7 * std::fabs(exact));
            }
        }
    }
}

void check_norms(const Kernels& k) {
    for (const int width : {1, 15, 16, 17, 70, 600})
        for (const bool weighted : {false, true}) {
            const Floats x = random(width, 3), weight = random(width), before = random(width);
            double squares = 0;
            for (const float v : x) squares += static_cast<double>(v) * v;
            const double factor = 1 / std::sqrt(squares / width + 1e-6);
            const auto normed = [&](int i) { return x[i] * factor * (weighted ? weight[i] : 1); };
            Floats y = before;
            k.rms_norm(x.data(), Dtype::f32, weighted ? weight.data() : nullptr, y.data(), width, 1e-6f, true, 0.5f);
            for (int i = 0; i < width; i++)
                near(y[i], (normed(i) + before[i]) / 2, 1e-6 * (std::fabs(normed(i)) + std::fabs(before[i])));
            Typed to(x, Dtype::bf16);
            k.rms_norm(x.data(), Dtype::f32, weighted ? weight.data() : nullptr, y.data(), width, 1e-6f, false, 1.0f);
            for (int i = 0; i < width; i++) near(y[i], normed(i), 1e-6 * std::fabs(normed(i)));
            k.rms_norm(to.data(), Dtype::bf16, weighted ? weight.data() : nullptr, to.data(), width, 1e-6f, false, 1.0f);
            for (int i = 0; i < width; i++) near(to[i], normed(i), 0.02 * std::fabs(normed(i)));  // x is rounded too
        }
}

void check_gates(const Kernels& k) {
    Floats x(2401), up = random(2401), y(2401);
    for (int i = 0; i < 2401; i++) x[i] = (i - 1200) / 100.0f;
    k.gelu_product(x.data(), up.data(), y.data(), 2401);
    for (int i = 0; i < 2401; i++) {
        const double v = x[i], u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
        near(y[i], up[i] * v * 0.5 * (1 + std::tanh(u)), 2e-6 * std::fabs(v * up[i]));
    }
    k.soft_cap(x.data(), 3.0f, 2401);
    for (int i = 0; i < 2401; i++) near(x[i], 3 * std::tanh((i - 1200) / 300.0), 3e-6);
    Floats odd = {NAN, INFINITY, -INFINITY, 1};
    k.soft_cap(odd.data(), 3.0f, 4);
    expect(std::isnan(odd[0]), odd[0], NAN);
    expect(odd[1] == 3 && odd[2] == -3, odd[1], 3);
}

void check_rotations(const Kernels& k) {
    for (const int dim : {2, 24, 40, 64, 512}) {
        const Floats before = random(dim);
        Floats x = before, cosines(dim / 2), sines(dim / 2);
        for (int i = 0; i < dim / 2; i++) cosines[i] = std::cos(i), sines[i] = std::sin(i);
        k.rotate(x.data(), cosines.data(), sines.data(), dim);
        for (int i = 0; i < dim / 2; i++) {
            const double a = before[i], b = before[i + dim / 2];
            near(x[i], a * cosines[i] - b * sines[i], 1e-6 * (std::fabs(a) + std::fabs(b)));
            near(x[i + dim / 2], b * cosines[i] + a * sines[i], 1e-6 * (std::fabs(a) + std::fabs(b)));
        }
    }
}

void check_conversions(const Kernels& k) {
    for (const int count : {1, 15, 16, 17, 4000}) {
        Floats x = random(count);
        std::vector<uint16_t> y(count);
        for (int i = 0; i < count; i++) {
            const uint32_t tie = 0x3f800000 + static_cast<uint32_t>(i) * 0x8000;  // every other one is halfway
            if (i % 2) std::memcpy(&x[i], &tie, 4);
        }
        k.convert(x.data(), y.data(), Dtype::bf16, count);
        for (int i = 0; i < count; i++) expect(y[i] == to_bf16(x[i]), y[i], to_bf16(x[i]));
    }
}

void check_highest(const Kernels& k) {
    for (const int count : {16, 32, 256})
        for (int at = 0; at < count; at++) {
            Floats x = random(count);
            x[at] = 9;
            expect(k.highest(x.data(), count) == 9, k.highest(x.data(), count), 9);
            for (float& v : x) v -= 20;
            expect(k.highest(x.data(), count) == x[at], k.highest(x.data(), count), x[at]);
        }
}

// 4-bit weights: as near as the best of the scales tried, searched for in double.
void check_packing(const Kernels& k) {
    const Floats divisors = {-8.75f, -8.25f, -8.0f, -7.75f, -7.25f, 7.0f}, x = random(40 * kGroup);
    std::vector<int8_t> q(x.size());
    std::vector<uint16_t> scales(40);
    k.pack_groups(x.data(), 40, divisors.data(), static_cast<int>(divisors.size()), q.data(), scales.data());
    for (int g = 0; g < 40; g++) {
        const float* group = &x[g * kGroup];
        const double peak = *std::max_element(group, group + kGroup, [](float a, float b) { return a * a < b * b; });
        double least = INFINITY, error = 0;
        for (const double divisor : divisors) {
            double tried = 0;
            for (int i = 0; i < kGroup; i++) {
                const double fitting = std::clamp(std::nearbyint(group[i] * divisor / peak), -8.0, 7.0);
                tried += std::pow(fitting * peak / divisor - group[i], 2);
            }
            least = std::min(least, tried);
        }
        for (int i = 0; i < kGroup; i++) {
            expect(q[g * kGroup + i] >= -8 && q[g * kGroup + i] <= 7, q[g * kGroup + i], 7);
            error += std::pow(q[g * kGroup + i] * half(scales[g]) - group[i], 2);
        }
        expect(error <= 1.01 * least, error, least);  // scales are rounded to halves
    }
}

// --- attention

// Keys and values of one head as the kernels want them: attention.inl.
struct Head {
    Head(int positions, int dim, Dtype dtype)
        : keys(random(static_cast<size_t>(positions) * dim), dtype),
          values(random(static_cast<size_t>(positions) * dim), dtype),
          dim(dim) {}

    // The last positions up to `end`, in a ring.
    void fill(int end, int capacity) {
        const int wide = round_up(dim, kLanes), per_word = keys.dtype == Dtype::f32 ? 1 : 2;
        key_words.assign(static_cast<size_t>(capacity) * dim / per_word, 0);
        value_words.assign(static_cast<size_t>(capacity) * wide / per_word, 0);
        for (int p = std::max(0, end - capacity); p < end; p++) {
            const int slot = p % capacity;
            for (int d = 0; d < dim; d++) {
                const size_t at = static_cast<size_t>(p) * dim + d;
                put(keys, at, key_words, (slot / kLanes * (dim / per_word) + d / per_word) * kLanes + slot % kLanes,
                    d % per_word);
                put(values, at, value_words, slot / per_word * wide + d, slot % per_word);
            }
        }
    }
    static void put(const Typed& from, size_t at, std::vector<uint32_t>& to, int word, int part) {
        if (from.dtype == Dtype::bf16) {
            to[word] |= static_cast<uint32_t>(from.halves[at]) << 16 * part;
        } else {
            std::memcpy(&to[word], &from.floats[at], 4);
        }
    }

    Typed keys, values;
    int dim;
    std::vector<uint32_t> key_words, value_words;
};

// The queries are the last of `positions`; their keys are taken in as many parts as given.
void check_attention(const Kernels& k, Dtype dtype, int dim, int group, int positions, int queries, int window, int parts) {
    Head head(positions, dim, dtype);
    const int capacity = window ? round_up(window + queries, kLanes) : round_up(positions, kLanes);
    head.fill(positions, capacity);
    const int rows = queries * group, first = positions - queries;
    Typed q(random(static_cast<size_t>(rows) * dim), dtype);
    Floats out(static_cast<size_t>(rows) * dim), held(part_size(rows, dim) * parts);
    std::vector<uint32_t> scratch(attend_scratch(rows, dim));
    Attend a;
    a.q = q.floats.data(), a.out = out.data(), a.q_stride = a.out_stride = static_cast<size_t>(group) * dim;
    a.keys = head.key_words.data(), a.values = head.value_words.data(), a.dtype = dtype, a.capacity = capacity;
    a.first = first, a.queries = queries, a.group = group, a.dim = dim, a.window = window, a.scale = 0.3f;
    const int oldest = window ? std::max(0, first - window + 1) : 0, size = (positions - oldest + parts - 1) / parts;
    for (int i = 0; i < parts; i++)
        k.attend(a, oldest + i * size, std::min(oldest + (i + 1) * size, positions), &held[i * part_size(rows, dim)],
                 scratch.data());
    k.attend_merge(a, held.data(), parts);
    for (int r = 0; r < rows; r++) {
        const int position = first + r / group, begin = window ? std::max(0, position - window + 1) : 0;
        std::vector<double> shares, exact(dim), sizes(dim);
        double total = 0;
        for (int p = begin; p <= position; p++) {
            double logit = 0;
            for (int d = 0; d < dim; d++) logit += static_cast<double>(q[r * dim + d]) * head.keys[p * dim + d];
            shares.push_back(std::exp(logit * 0.3f));
            total += shares.back();
        }
        for (int p = begin; p <= position; p++)
            for (int d = 0; d < dim; d++) {
                const double value = shares[p - begin] / total * head.values[p * dim + d];
                exact[d] += value, sizes[d] += std::fabs(value);
            }
        for (int d = 0; d < dim; d++) near(out[r * dim + d], exact[d], (2e-5 + step(dtype)) * sizes[d]);
    }
}

void check_attentions(const Kernels& k) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
        for (const int dim : {2, 24, 40, 48, 64, 256})
            for (const int group : {1, 3, 8}) {
                check_attention(k, dtype, dim, group, 70, 1, 0, 1);
                check_attention(k, dtype, dim, group, 70, 13, 0, 1);
            }
        for (const int window : {1, 16, 17, 64, 65}) {
            check_attention(k, dtype, 24, 2, 200, 1, window, 1);
            check_attention(k, dtype, 24, 2, 200, 40, window, 1);
        }
        check_attention(k, dtype, 24, 2, 200, 1, 0, 7);
        check_attention(k, dtype, 24, 2, 200, 1, 90, 5);
    }
}

void check_dense_of(const Kernels& k, Dtype dtype, Dtype to, int rows, int in, int out) {
    for (const bool whole : {false, true}) {  // with a bias, a lower end and what is there; or with none of them
        const int stride = in + 32;
        Typed x(random(rows * stride), dtype), w(random(out * in), dtype), y(random(rows * out), to);
        const Floats bias = random(out);
        const DenseMatrix matrix{w.data(), dtype, out, in};
        const DenseRows read{x.data(), static_cast<size_t>(stride), rows};
        Output output{y.data(), to, static_cast<size_t>(out)};
        if (whole) output.bias = bias.data(), output.range.low = 0, output.add = true;
        const Typed before = y;
        for (int first = 0; first < out; first += kDenseOutputs)
            k.dense(matrix, read, output, first, std::min(kDenseOutputs, out - first));
        for (int r = 0; r < rows; r++)
            for (int o = 0; o < out; o++) {
                double exact = whole ? bias[o] : 0, size = std::fabs(exact);
                for (int i = 0; i < in; i++) {
                    const double product = static_cast<double>(x[r * stride + i]) * w[o * in + i];
                    exact += product, size += std::fabs(product);
                }
                if (whole) exact = std::max(exact, 0.0) + before[r * out + o];
                near(y[r * out + o], exact, step(to) * std::fabs(exact) + 2e-6 * size);
            }
    }
}

void check_dense(const Kernels& k) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16})
        for (const Dtype to : {Dtype::f32, Dtype::bf16})
            for (const int rows : {1, 2, 3, 4, 7})
                for (const int in : {32, 64, 992})
                    for (const int out : {1, 5, 16, 31, 70}) check_dense_of(k, dtype, to, rows, in, out);
}

void check_layer_norms(const Kernels& k) {
    for (const int width : {1, 15, 16, 17, 70, 600}) {
        Floats x = random(width, 3), y(width);
        const Floats weight = random(width), bias = random(width);
        for (float& v : x) v += 20;
        double mean = 0, variance = 0;
        for (const float v : x) mean += v;
        mean /= width;
        for (const float v : x) variance += (v - mean) * (v - mean);
        const double factor = 1 / std::sqrt(variance / width + 1e-5);
        k.layer_norm(x.data(), weight.data(), bias.data(), y.data(), width, 1e-5f);
        const Floats given = x;
        k.layer_norm(x.data(), weight.data(), bias.data(), x.data(), width, 1e-5f);  // in its own place
        for (int i = 0; i < width; i++) {
            const double exact = weight[i] * (given[i] - mean) * factor + bias[i];
            near(y[i], exact, (1e-6 + 1e-5 * factor) * std::fabs(weight[i]) + 1e-6 * std::fabs(exact));
            near(x[i], y[i], 0);
        }
    }
}

void check(const Kernels& k) {
    const std::pair<const char*, void (*)(const Kernels&)> all[] = {
        {"products", check_products},   {"largest", check_largest},         {"not finite", check_not_finite},
        {"tables", check_tables},       {"norms", check_norms},             {"gates", check_gates},
        {"rotations", check_rotations}, {"conversions", check_conversions}, {"highest", check_highest},
        {"packing", check_packing},     {"attention", check_attentions},    {"dense", check_dense},
        {"layer norms", check_layer_norms},
    };
    for (const auto& [what, run] : all) {
        checking = std::string(k.name) + ", " + what;
        run(k);
    }
}

}  // namespace

int main() {
    for (const Kernels* k : runnable_kernels()) {
        const int before = failures;
        checks = 0;
        check(*k);
        std::printf("%s: %d checks, %d failures\n", k->name, checks, failures - before);
    }
    return failures != 0;
}
