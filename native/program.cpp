#include "program.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <numeric>
#include <stdexcept>

#include "dense.hpp"

namespace auricle {
namespace {

constexpr int kGateColumns = 1024;  // of a gated product, one item
constexpr int kScanned = 256;       // logits that are looked at together
constexpr int kNormRows = 16;       // of a norm outside of a program, one item
constexpr int kPackedGroups = 4096; // of weights that are packed, one item
constexpr size_t kItemBytes = 64 << 10;
constexpr int kMaxParts = 64;       // pieces that one position's attention is cut into

std::unique_ptr<float[], void (*)(float*)> aligned_floats(size_t count) {
    auto* p = static_cast<float*>(::operator new(count * sizeof(float), std::align_val_t{64}));
    return {p, [](float* held) { ::operator delete(held, std::align_val_t{64}); }};
}

// Few rows are done when the weights are read. An item then is some of these: many small ones leave no thread waiting
// long for another's last. Two blocks at least, which are a group of the next product's inputs.
int blocks_of_item(const Packed& w, int rows) {
    if (rows > kFewRows) return kPanel;
    const size_t pair = 2 * w.groups() * w.group_bytes();
    return 2 * static_cast<int>(std::clamp<size_t>(kItemBytes / pair, 1, kPanel));
}

int pieces_of(int count, int size) { return (count + size - 1) / size; }

// Rows are cut into equal pieces, as few as hold them.
Piece piece_of(const Packed& w, int rows, int item) {
    const int per_item = blocks_of_item(w, rows);
    const int columns = pieces_of(w.blocks(), per_item), pieces = pieces_of(rows, kPanelRows);
    const int block = item % columns * per_item, piece = item / columns;
    const int row = rows * piece / pieces, end = rows * (piece + 1) / pieces;
    return {row, end - row, block, std::min(per_item, w.blocks() - block)};
}

template <class Held>
Quantised view(Held& held, int groups) {
    return {held.q.data(), held.scales.data(), held.sums.data(), groups};
}

// How one position's attention is cut: enough for all threads, not smaller than what attention takes at a time.
int64_t attend_part(int64_t positions, int team) {
    const int64_t wanted = (positions + 2 * team - 1) / (2 * team);
    const int64_t part = std::max<int64_t>(wanted, (positions + kMaxParts - 1) / kMaxParts);
    return (part + kLanes - 1) / kLanes * kLanes;
}

// Keys and values of one head: see attention.inl.
std::pair<uint32_t*, uint32_t*> of_head(const Cache& cache, int head, int dim, Dtype dtype) {
    const int per_word = dtype == Dtype::f32 ? 1 : 2;
    const auto slots = static_cast<size_t>(head) * cache.capacity;
    return {cache.keys + slots * (dim / per_word), cache.values + slots / per_word * round_up(dim, kLanes)};
}

// One position's key and value to their places, numbers of the cache's type.
template <class Number>
void scatter(const Number* key, const Number* value, uint32_t* keys, uint32_t* values, int64_t slot, int dim) {
    constexpr int per_word = sizeof(uint32_t) / sizeof(Number);
    const size_t wide = round_up(dim, kLanes);
    auto* k = reinterpret_cast<Number*>(keys) + slot / kLanes * kLanes * dim + slot % kLanes * per_word;
    auto* v = reinterpret_cast<Number*>(values) + slot / per_word * wide * per_word + slot % per_word;
    for (int d = 0; d < dim; d++) {
        k[d / per_word * per_word * kLanes + d % per_word] = key[d];
        v[d * per_word] = value[d];
    }
}

int64_t oldest(int64_t position, int64_t window) { return window ? std::max<int64_t>(0, position - window + 1) : 0; }

}  // namespace

int product_items(const Packed& w, int rows) {
    const int per_item = blocks_of_item(w, rows);
    return pieces_of(w.blocks(), per_item) * pieces_of(rows, kPanelRows);
}

void product_item(const Packed& w, const Quantised& x, int rows, const Output& to, int item, Scratch& scratch) {
    const Piece piece = piece_of(w, rows, item);
    kernels().product(w, x, piece.row, piece.rows, piece.block, piece.blocks, to, scratch.floats(kPanelScratch));
}

void rms_norm(const void* x, Dtype dtype, int rows, int width, const float* weight, float eps, void* to) {
    const size_t row_bytes = width * number_bytes(dtype);
    const int items = pieces_of(rows, kNormRows);
    run_phases(
        1, [=](int) { return items; },
        [=](int, int item, Scratch&) {
            for (int row = item * kNormRows; row < std::min(rows, (item + 1) * kNormRows); row++)
                kernels().rms_norm(static_cast<const uint8_t*>(x) + row * row_bytes, dtype, weight,
                                      static_cast<uint8_t*>(to) + row * row_bytes, width, eps, false, 1.0f);
        });
}

void pack_groups(const float* x, int64_t groups, const std::vector<float>& divisors, int8_t* q, uint16_t* scales) {
    const auto items = static_cast<int>((groups + kPackedGroups - 1) / kPackedGroups);
    run_phases(
        1, [=](int) { return items; },
        [&](int, int item, Scratch&) {
            const int64_t from = static_cast<int64_t>(item) * kPackedGroups;
            kernels().pack_groups(x + from * kGroup, std::min<int64_t>(kPackedGroups, groups - from), divisors.data(),
                                  static_cast<int>(divisors.size()), q + from * kGroup, scales + from);
        });
}

void linear(const void* x, Dtype dtype, int rows, int width, const Range& range,
            const std::vector<std::pair<Packed, Output>>& products) {
    const int groups = pieces_of(width, kGroup);
    const auto cells = static_cast<size_t>(rows) * groups;
    const std::unique_ptr<int8_t[]> q(new int8_t[cells * kGroup]);
    const std::unique_ptr<float[]> scales(new float[cells]);
    const std::unique_ptr<int32_t[]> sums(new int32_t[cells]);
    const Quantised quantised{q.get(), scales.get(), sums.get(), groups};
    const size_t row_bytes = width * number_bytes(dtype);
    run_phases(
        2,
        [&](int phase) {
            if (phase == 0) return rows;
            return std::accumulate(products.begin(), products.end(), 0,
                                   [&](int n, const auto& p) { return n + product_items(p.first, rows); });
        },
        [&](int phase, int item, Scratch& scratch) {
            if (phase == 0) {
                return kernels().quantise(static_cast<const uint8_t*>(x) + item * row_bytes, dtype, width, range, item,
                                          quantised);
            }
            for (const auto& [w, to] : products) {
                const int n = product_items(w, rows);
                if (item < n) return product_item(w, quantised, rows, to, item, scratch);
                item -= n;
            }
        });
}

void Pass::clear() {
    row.clear(), ids.clear(), stretches.clear();
    rows = singles = 0;
}

void Pass::add(const Row& next, int64_t id) {
    const bool goes_on = rows && row.back().caches == next.caches && row.back().position + 1 == next.position;
    row.push_back(next), ids.push_back(id);
    if (!goes_on) {
        stretches.push_back({rows, 1, singles++});
    } else if (Stretch& last = stretches.back(); last.rows++ == 1) {
        last.single = -1;
        singles--;
    }
    rows++;
}

Program::Program(int max_rows, int max_wanted)
    : max_rows_(max_rows), max_wanted_(std::min(max_rows, max_wanted)), k_(kernels()) {}

int Program::buffer(int width, bool last) {
    const size_t stride = round_up(width, kLanes);
    const int rows = last ? max_wanted_ : max_rows_;
    buffers_.push_back({aligned_floats(stride * rows), stride, rows, width});
    return static_cast<int>(buffers_.size()) - 1;
}

void Program::add(std::function<int(const Pass&)> items, std::function<void(const Pass&, int, Scratch&)> run) {
    steps_.push_back({std::move(items), std::move(run), last_});
}

void Program::reserve(Held& held, int groups) {
    const size_t cells = static_cast<size_t>(last_ ? max_wanted_ : max_rows_) * groups;
    if (held.scales.size() < cells) held.q.resize(cells * kGroup), held.scales.resize(cells), held.sums.resize(cells);
}

void Program::quantise(Slice from, int width) {
    const int groups = pieces_of(width, kGroup);
    reserve(inputs_, groups);
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass&, int row, Scratch&) {
            k_.quantise(at(from, row), Dtype::f32, width, {}, row, view(inputs_, groups));
        });
}

void Program::lookup(const Table& table, Slice to, float factor, int64_t absent) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass& pass, int row, Scratch&) {
            const int64_t id = pass.ids[row] < 0 ? absent : pass.ids[row];
            if (id >= 0) k_.unpack_row(table.weight, table.scales, table.bits, table.width, id, factor, at(to, row));
        });
}

void Program::linear(Slice from, const std::vector<Product>& products, bool add_to) {
    quantise(from, products.front().w.in);
    add(
        [=](const Pass& pass) {
            int n = 0;
            for (const auto& product : products) n += product_items(product.w, pass.rows);
            return n;
        },
        [=, this](const Pass& pass, int item, Scratch& scratch) {
            for (const auto& [w, to, bias] : products) {
                const int n = product_items(w, pass.rows);
                if (item < n) {
                    const Output output{at(to, 0), Dtype::f32, stride(to.buffer), bias, {}, 0, 0, add_to};
                    return product_item(w, view(inputs_, w.groups()), pass.rows, output, item, scratch);
                }
                item -= n;
            }
        });
}

void Program::dense(Slice from, const DenseMatrix& w, const float* bias, Slice to, const Range& range, bool add_to) {
    const bool bf16 = w.dtype == Dtype::bf16;
    if (bf16) {
        const size_t cells = static_cast<size_t>(last_ ? max_wanted_ : max_rows_) * w.in;
        rounded_.resize(std::max(rounded_.size(), cells));
        add([](const Pass& pass) { return pass.rows; },
            [=, this](const Pass&, int row, Scratch&) {
                k_.convert(at(from, row), rounded_.data() + static_cast<size_t>(row) * w.in, w.dtype, w.in);
            });
    }
    add([=](const Pass&) { return dense_items(w.out); },
        [=, this](const Pass& pass, int item, Scratch&) {
            const DenseRows x = bf16 ? DenseRows{rounded_.data(), static_cast<size_t>(w.in), pass.rows}
                                     : DenseRows{at(from, 0), stride(from.buffer), pass.rows};
            dense_item(w, x, {at(to, 0), Dtype::f32, stride(to.buffer), bias, range, 0, 0, add_to}, item);
        });
}

void Program::gated(Slice from, const Packed& gate, const Packed& up, const Packed& down, Slice to, Gate kind,
                    bool add_to) {
    quantise(from, gate.in);
    reserve(gated_, down.groups());
    const size_t wide = round_up(gate.out, kLanes);
    gates_.resize(std::max(gates_.size(), 2 * kFewRows * wide));
    // Of few rows the weights are all there is to wait for: nothing else may keep a thread from reading them.
    add(
        [=](const Pass& pass) { return product_items(gate, pass.rows) * (pass.rows > kFewRows ? 1 : 2); },
        [=, this](const Pass& pass, int item, Scratch& scratch) {
            if (pass.rows > kFewRows)
                return gated_panel(gate, up, piece_of(gate, pass.rows, item), down.groups(), kind, scratch);
            const int n = product_items(gate, pass.rows);
            const Output output{gates_.data() + item / n * kFewRows * wide, Dtype::f32, wide};
            product_item(item < n ? gate : up, view(inputs_, gate.groups()), pass.rows, output, item % n, scratch);
        });
    add([=](const Pass& pass) { return pass.rows > kFewRows ? 0 : pass.rows * pieces_of(gate.out, kGateColumns); },
        [=, this](const Pass&, int item, Scratch&) {
            const int pieces = pieces_of(gate.out, kGateColumns), row = item / pieces;
            const int column = item % pieces * kGateColumns, width = std::min(kGateColumns, gate.out - column);
            float* gates = gates_.data() + row * wide + column;
            gate_and_quantise(gates, gates + kFewRows * wide, width, row, column, down.groups(), kind);
        });
    add([=](const Pass& pass) { return product_items(down, pass.rows); },
        [=, this](const Pass& pass, int item, Scratch& scratch) {
            const Output output{at(to, 0), Dtype::f32, stride(to.buffer), nullptr, {}, 0, 0, add_to};
            product_item(down, view(gated_, down.groups()), pass.rows, output, item, scratch);
        });
}

// Of many rows, a panel of both matrices stays in the caches until it is quantised.
void Program::gated_panel(const Packed& gate, const Packed& up, const Piece& piece, int groups, Gate kind,
                          Scratch& scratch) {
    const int column = piece.block * kLanes, width = std::min(piece.blocks * kLanes, gate.out - column);
    const size_t stride = static_cast<size_t>(piece.blocks) * kLanes, size = stride * piece.rows;
    float* sums = scratch.floats(kPanelScratch + 2 * size);
    float *gates = sums + kPanelScratch, *ups = gates + size;
    for (const auto& [w, y] : {std::pair{&gate, gates}, std::pair{&up, ups}}) {
        const Output output{y, Dtype::f32, stride, nullptr, {}, piece.row, column};
        k_.product(*w, view(inputs_, w->groups()), piece.row, piece.rows, piece.block, piece.blocks, output, sums);
    }
    for (int r = 0; r < piece.rows; r++)
        gate_and_quantise(gates + r * stride, ups + r * stride, width, piece.row + r, column, groups, kind);
}

// gelu(gates) * ups, or silu, into columns [column, column + width) of what `down` takes.
void Program::gate_and_quantise(float* gates, const float* ups, int width, int row, int column, int groups, Gate kind) {
    Quantised part = view(gated_, groups);
    part.q += column, part.scales += column / kGroup, part.sums += column / kGroup;
    (kind == Gate::gelu ? k_.gelu_product : k_.silu_product)(gates, ups, gates, width);
    k_.quantise(gates, Dtype::f32, width, {}, row, part);
}

void Program::rms_norm(Slice from, Slice to, int width, int groups, const float* weight, float eps, bool add_to,
                       float scale) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass&, int row, Scratch&) {
            for (int g = 0; g < groups; g++)
                k_.rms_norm(at(from, row) + g * width, Dtype::f32, weight, at(to, row) + g * width, width, eps, add_to,
                            scale);
        });
}

void Program::layer_norm(Slice from, Slice to, int width, const float* weight, const float* bias, float eps) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass&, int row, Scratch&) {
            k_.layer_norm(at(from, row), weight, bias, at(to, row), width, eps);
        });
}

void Program::gelu_product(Slice gate, Slice up, Slice to, int width) {
    const int columns = pieces_of(width, kGateColumns);
    add([=](const Pass& pass) { return pass.rows * columns; },
        [=, this](const Pass&, int item, Scratch&) {
            const int row = item / columns, from = item % columns * kGateColumns;
            k_.gelu_product(at(gate, row) + from, at(up, row) + from, at(to, row) + from,
                            std::min(kGateColumns, width - from));
        });
}

void Program::angles(Slice to, const float* inverse, int half) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass& pass, int row, Scratch&) {
            float* cos = at(to, row);
            for (int i = 0; i < half; i++) {
                const float angle = static_cast<float>(pass.row[row].position) * inverse[i];
                cos[i] = std::cos(angle);
                cos[half + i] = std::sin(angle);
            }
        });
}

void Program::rotate(Slice x, int heads, int dim, Slice angles) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass&, int row, Scratch&) {
            const float* cos = at(angles, row);
            for (int h = 0; h < heads; h++) k_.rotate(at(x, row) + h * dim, cos, cos + dim / 2, dim);
        });
}

void Program::store(Slice keys, Slice values, int kv_heads, int dim, int cache, Dtype dtype) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass& pass, int row, Scratch& scratch) {
            const Cache& to = pass.row[row].caches[cache];
            const int64_t slot = pass.row[row].position % to.capacity;
            for (int h = 0; h < kv_heads; h++) {
                const auto [k, v] = of_head(to, h, dim, dtype);
                if (dtype == Dtype::f32) {
                    scatter(at(keys, row) + h * dim, at(values, row) + h * dim, k, v, slot, dim);
                    continue;
                }
                auto* halves = reinterpret_cast<uint16_t*>(scratch.floats(dim));
                k_.convert(at(keys, row) + h * dim, halves, dtype, dim);
                k_.convert(at(values, row) + h * dim, halves + dim, dtype, dim);
                scatter(halves, halves + dim, k, v, slot, dim);
            }
        });
}

void Program::attend(Slice q, Slice to, int heads, int kv_heads, int dim, int cache, Dtype dtype, int64_t window,
                     float scale) {
    const int group = heads / kv_heads;
    const int queries = kQueryRows / group;  // positions of one item
    const size_t part = part_size(group, dim);
    single_parts_ = std::max(single_parts_, part * kv_heads * kMaxParts);
    const auto attended = [=, this](const Pass& pass, int head, int row, int rows) {
        const auto& [position, caches] = pass.row[row];
        const auto [keys, values] = of_head(caches[cache], head, dim, dtype);
        const int column = head * group * dim;
        return Attend{at(q, row) + column, at(to, row) + column, stride(q.buffer), stride(to.buffer), keys, values, dtype,
                      caches[cache].capacity, position, rows, group, dim, window, scale};
    };
    // How a stretch is cut: one position along its keys, many into some at a time.
    const auto keys_of = [=](const Pass& pass, const Stretch& stretch) {
        const int64_t position = pass.row[stretch.row].position;
        return std::pair{oldest(position, window), position + 1};
    };
    const auto pieces = [=](const Pass& pass, const Stretch& stretch) {
        if (stretch.single < 0) return pieces_of(stretch.rows, queries);
        const auto [begin, end] = keys_of(pass, stretch);
        const int64_t size = attend_part(end - begin, pass.team);
        return static_cast<int>((end - begin + size - 1) / size);
    };
    const auto parts_of = [=, this](const Stretch& stretch, int head) {
        return &parts_[stretch.single * single_parts_ + head * kMaxParts * part];
    };
    add(
        [=](const Pass& pass) {
            int n = 0;
            for (const Stretch& stretch : pass.stretches) n += kv_heads * pieces(pass, stretch);
            return n;
        },
        [=, this](const Pass& pass, int item, Scratch& scratch) {
            const Stretch* stretch = pass.stretches.data();
            for (int n; item >= (n = kv_heads * pieces(pass, *stretch)); stretch++) item -= n;
            const int head = item % kv_heads, piece = item / kv_heads;
            if (stretch->single >= 0) {
                const auto [first, last] = keys_of(pass, *stretch);
                const int64_t size = attend_part(last - first, pass.team), begin = first + piece * size;
                auto* words = static_cast<uint32_t*>(scratch.bytes(4 * attend_scratch(group, dim)));
                return k_.attend(attended(pass, head, stretch->row, 1), begin, std::min(begin + size, last),
                                 parts_of(*stretch, head) + piece * part, words);
            }
            const int row = piece * queries, rows = std::min(queries, stretch->rows - row);
            const Attend a = attended(pass, head, stretch->row + row, rows);
            float* all = scratch.floats(part_size(rows * group, dim) + attend_scratch(rows * group, dim));
            auto* words = reinterpret_cast<uint32_t*>(all + part_size(rows * group, dim));
            k_.attend(a, oldest(a.first, window), a.first + rows, all, words);
            k_.attend_merge(a, all, 1);
        });
    add([=](const Pass& pass) { return pass.singles * kv_heads; },
        [=, this](const Pass& pass, int item, Scratch&) {
            const Stretch* stretch = pass.stretches.data();
            while (stretch->single != item / kv_heads) stretch++;
            const int head = item % kv_heads;
            k_.attend_merge(attended(pass, head, stretch->row, 1), parts_of(*stretch, head), pieces(pass, *stretch));
        });
}

void Program::keep(const std::vector<int>& buffers) {
    add([](const Pass&) { return 1; },
        [=, this](const Pass&, int, Scratch&) {
            for (const int b : buffers)
                for (size_t i = 0; i < wanted_.size(); i++)
                    if (wanted_[i] != static_cast<int>(i))
                        std::memcpy(data(b) + i * stride(b), data(b) + wanted_[i] * stride(b), stride(b) * sizeof(float));
        });
    last_ = true;
}

void Program::rescore(Slice x, Slice logits, const Table& table, int count) {
    add([](const Pass& pass) { return pass.rows; },
        [=, this](const Pass&, int row, Scratch& scratch) {
            float* scores = at(logits, row);
            float* weights = scratch.floats(round_up(table.width, kGroup) + count + 1);
            auto* best = reinterpret_cast<int*>(weights + round_up(table.width, kGroup));
            const auto worse = [=](int a, int b) { return scores[a] > scores[b]; };  // a heap with the lowest on top
            int held = 0;
            for (int from = 0; from < table.rows; from += kScanned) {
                const int to = std::min(from + kScanned, table.rows);
                if (held == count && to - from == kScanned && k_.highest(scores + from, kScanned) <= scores[best[0]])
                    continue;  // as for nearly all of them
                for (int i = from; i < to; i++) {
                    if (held == count && scores[i] <= scores[best[0]]) continue;
                    best[held++] = i;
                    std::push_heap(best, best + held, worse);
                    if (held > count) std::pop_heap(best, best + held--, worse);
                }
            }
            const float* state = at(x, row);
            for (int i = 0; i < held; i++) {
                k_.unpack_row(table.weight, table.scales, table.bits, table.width, best[i], 1.0f, weights);
                scores[best[i]] = std::inner_product(state, state + table.width, weights, 0.0f);
            }
        });
}

void Program::soft_cap(Slice x, int width, float cap) {
    const int columns = pieces_of(width, kGateColumns);
    add([=](const Pass& pass) { return pass.rows * columns; },
        [=, this](const Pass&, int item, Scratch&) {
            const int from = item % columns * kGateColumns;
            k_.soft_cap(at(x, item / columns) + from, cap, std::min(kGateColumns, width - from));
        });
}

void Program::run(const Pass& pass, const uint8_t* wanted) {
    if (pass.rows < 1 || pass.rows > max_rows_) throw std::invalid_argument("a pass has 1 to max_rows rows");
    kept_.clear(), wanted_.clear();
    kept_.team = pass.team;
    for (int i = 0; i < pass.rows; i++)
        if (wanted[i]) kept_.add(pass.row[i], pass.ids[i]), wanted_.push_back(i);
    if (kept_.rows > max_wanted_) throw std::invalid_argument("a pass gives the logits of at most max_wanted rows");
    const size_t parts = single_parts_ * std::max(pass.singles, kept_.singles);
    if (parts_.size() < parts) parts_.resize(parts);
    int count = 0;
    while (count < static_cast<int>(steps_.size()) && (kept_.rows || !steps_[count].last)) count++;
    const auto of = [&](int i) -> const Pass& { return steps_[i].last ? kept_ : pass; };
    run_phases(
        count, [&](int i) { return steps_[i].items(of(i)); },
        [&](int i, int item, Scratch& scratch) { steps_[i].run(of(i), item, scratch); });
}

}  // namespace auricle
