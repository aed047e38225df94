// auricle._native: the kernels for Python. Tensors come as DLPack arrays; shapes and types are checked here, so that
// nothing behind this file has to.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "dense.hpp"
#include "program.hpp"

namespace nb = nanobind;
using namespace auricle;

namespace {

using Array = nb::ndarray<nb::c_contig, nb::device::cpu>;
using ReadOnly = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Places = nb::ndarray<const int64_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;      // request, position
using Caches = nb::ndarray<const int64_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;  // keys, values, slots
using Flags = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Place = std::pair<int, int>;  // buffer, first column

// weight, scales, outputs, inputs, bits
using Matrix = std::tuple<ReadOnly, ReadOnly, int, int, int>;

// weight, scales, rows, width, bits
using Rows = std::tuple<ReadOnly, ReadOnly, int, int, int>;

void expect(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

template <class A>
Dtype dtype_of(const A& array) {
    if (array.dtype() == nb::dtype<float>()) return Dtype::f32;
    const auto type = array.dtype();
    expect(type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat) && type.bits == 16,
           "activations must be float32 or bfloat16");
    return Dtype::bf16;
}

Packed packed(const Matrix& matrix) {
    const auto& [weight, scales, out, in, bits] = matrix;
    expect(bits == 4 || bits == 8, "weights have 4 or 8 bits");
    const Packed w{static_cast<const uint8_t*>(weight.data()), scales.data(), out, in, static_cast<Bits>(bits)};
    expect(out > 0 && in > 0, "a matrix has rows and columns");
    expect(weight.nbytes() == static_cast<size_t>(w.blocks()) * w.groups() * w.group_bytes(), "weights of another size");
    const size_t expected = bits == 4 ? static_cast<size_t>(w.blocks()) * w.groups() * kLanes * 2
                                      : static_cast<size_t>(w.blocks()) * kLanes * 4;
    expect(scales.nbytes() == expected, "scales of another size");
    return w;
}

Table table(const Rows& rows) {
    const auto& [weight, scales, count, width, bits] = rows;
    expect(bits == 4 || bits == 8, "rows have 4 or 8 bits");
    expect(count > 0 && width > 0 && (bits == 8 || width % kGroup == 0), "a table has rows and columns");
    expect(weight.nbytes() == static_cast<size_t>(count) * width * bits / 8, "a table of another size");
    expect(scales.nbytes() == static_cast<size_t>(count) * (bits == 4 ? width / kGroup * 2 : 4), "scales of another size");
    return {static_cast<const uint8_t*>(weight.data()), scales.data(), count, width, static_cast<Bits>(bits)};
}

Slice slice(const Place& place) { return {place.first, place.second}; }

// x (rows, inputs), clipped, times each matrix, into y (rows, outputs) of any of the two types, clipped.
void linear_of(const ReadOnly& x, const std::vector<Matrix>& matrices, const std::vector<Array>& to,
               const std::vector<std::optional<Floats>>& biases, std::pair<float, float> clip_x,
               std::pair<float, float> clip_y) {
    expect(x.ndim() == 2 && matrices.size() == to.size() && biases.size() == to.size(), "x is (rows, inputs)");
    const int rows = static_cast<int>(x.shape(0)), width = static_cast<int>(x.shape(1));
    std::vector<std::pair<Packed, Output>> products;
    for (size_t i = 0; i < to.size(); i++) {
        const Packed w = packed(matrices[i]);
        expect(w.in == width, "x has another width than the matrix");
        expect(to[i].ndim() == 2 && to[i].shape(0) == x.shape(0) && static_cast<int>(to[i].shape(1)) == w.out,
               "y is (rows, outputs)");
        expect(!biases[i] || static_cast<int>(biases[i]->size()) == w.out, "a bias has one number for each output");
        products.push_back({w, {to[i].data(), dtype_of(to[i]), static_cast<size_t>(w.out),
                                biases[i] ? biases[i]->data() : nullptr, {clip_y.first, clip_y.second}}});
    }
    const nb::gil_scoped_release others_may_run;
    linear(x.data(), dtype_of(x), rows, width, {clip_x.first, clip_x.second}, products);
}

// w (outputs, inputs), and what its bias has to be.
DenseMatrix dense_matrix(const ReadOnly& w, const std::optional<Floats>& bias) {
    expect(w.ndim() == 2 && w.shape(1) % (2 * kLanes) == 0, "a dense matrix has a multiple of 32 inputs");
    expect(!bias || bias->size() == w.shape(0), "a bias has one number for each output");
    return {w.data(), dtype_of(w), static_cast<int>(w.shape(0)), static_cast<int>(w.shape(1))};
}

const float* numbers(const std::optional<Floats>& floats) { return floats ? floats->data() : nullptr; }

// y = x w^T + bias, x (rows, inputs) of w's type, y (rows, outputs).
void dense_of(const ReadOnly& x, const ReadOnly& w, const std::optional<Floats>& bias, const Array& y) {
    const DenseMatrix m = dense_matrix(w, bias);
    expect(x.ndim() == 2 && static_cast<int>(x.shape(1)) == m.in && dtype_of(x) == m.dtype, "x is (rows, inputs), as w");
    expect(y.ndim() == 2 && y.shape(0) == x.shape(0) && static_cast<int>(y.shape(1)) == m.out, "y is (rows, outputs)");
    expect(y.data() != x.data() || !y.size(), "a dense product can't write over what it reads");
    const DenseRows rows{x.data(), x.shape(1), static_cast<int>(x.shape(0))};
    const Output to{y.data(), dtype_of(y), y.shape(1), numbers(bias)};
    const nb::gil_scoped_release others_may_run;
    dense(m, rows, to);
}

// y = weight * x / rms(x), of `(rows, width)` and of x's type.
void rms_norm_of(const ReadOnly& x, const std::optional<Floats>& weight, float eps, const Array& y) {
    expect(x.ndim() == 2 && y.ndim() == 2 && x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1), "x is (rows, width)");
    expect(x.dtype() == y.dtype() && (!weight || weight->size() == x.shape(1)), "a norm keeps the type and the width");
    const Dtype dtype = dtype_of(x);
    const nb::gil_scoped_release others_may_run;
    rms_norm(x.data(), dtype, static_cast<int>(x.shape(0)), static_cast<int>(x.shape(1)), weight ? weight->data() : nullptr,
             eps, y.data());
}

// x (groups, 32) -> q (groups, 32) and a half for each group, given as 16-bit integers.
void pack_groups_of(const Floats& x, const std::vector<float>& divisors,
                    const nb::ndarray<int8_t, nb::c_contig, nb::device::cpu>& q,
                    const nb::ndarray<int16_t, nb::c_contig, nb::device::cpu>& scales) {
    expect(x.size() % kGroup == 0 && q.size() == x.size() && scales.size() == x.size() / kGroup, "groups are of 32");
    const nb::gil_scoped_release others_may_run;
    pack_groups(x.data(), static_cast<int64_t>(x.size() / kGroup), divisors, q.data(),
                reinterpret_cast<uint16_t*>(scales.data()));
}

class Bound {
  public:
    Bound(int max_rows, int max_wanted) : program_(max_rows, max_wanted) {}

    int buffer(int width, bool last) {
        expect(width > 0, "a buffer has columns");
        return program_.buffer(width, last);
    }
    auto view(nb::handle self, int buffer) {
        check(buffer);
        const size_t shape[2] = {static_cast<size_t>(program_.rows(buffer)), static_cast<size_t>(program_.width(buffer))};
        const int64_t strides[2] = {static_cast<int64_t>(program_.stride(buffer)), 1};
        return nb::ndarray<nb::numpy, float, nb::ndim<2>>(program_.data(buffer), 2, shape, self, strides);
    }
    void lookup(const Rows& rows, Place to, float factor, int64_t absent) {
        const Table from = table(rows);
        expect(absent < from.rows, "the table has no such row");
        check(to, from.width);
        vocabulary_ = std::min(vocabulary_, from.rows);
        program_.lookup(from, slice(to), factor, absent);
    }
    // No `biases`, or one for each matrix, which may be none.
    void linear(Place from, const std::vector<std::pair<Matrix, Place>>& matrices,
                const std::vector<std::optional<Floats>>& biases, bool add) {
        expect(!matrices.empty(), "a product needs a matrix");
        expect(biases.empty() || biases.size() == matrices.size(), "there are biases for some matrices only");
        std::vector<Product> products;
        for (size_t i = 0; i < matrices.size(); i++) {
            const Packed w = packed(matrices[i].first);
            const Place to = matrices[i].second;
            const std::optional<Floats> bias = biases.empty() ? std::nullopt : biases[i];
            products.push_back({w, slice(to), bias ? bias->data() : nullptr});
            check(from, w.in), check(to, w.out);
            expect(w.in == products.front().w.in, "the matrices have different inputs");
            expect(!bias || static_cast<int>(bias->size()) == w.out, "a bias has one number for each output");
        }
        program_.linear(slice(from), products, add);
    }
    void dense(Place from, const ReadOnly& w, std::optional<Floats> bias, Place to, std::pair<float, float> clip,
               bool add) {
        const DenseMatrix m = dense_matrix(w, bias);
        check(from, m.in), check(to, m.out);
        const bool apart = from.first != to.first || from.second + m.in <= to.second || to.second + m.out <= from.second;
        expect(apart, "a dense product can't write over what it reads");
        program_.dense(slice(from), m, numbers(bias), slice(to), {clip.first, clip.second}, add);
    }
    void gated(Place from, const Matrix& gate, const Matrix& up, const Matrix& down, Place to, const std::string& kind,
               bool add) {
        const Packed g = packed(gate), u = packed(up), d = packed(down);
        check(from, g.in), check(to, d.out);
        expect(g.in == u.in && g.out == u.out && g.out == d.in && g.bits == u.bits, "gate, up and down don't fit together");
        expect(kind == "gelu" || kind == "silu", "a gate is gelu or silu");
        program_.gated(slice(from), g, u, d, slice(to), kind == "gelu" ? Gate::gelu : Gate::silu, add);
    }
    void rms_norm(Place from, Place to, int width, int groups, std::optional<Floats> weight, float eps, bool add,
                  float scale) {
        check(from, width * groups), check(to, width * groups);
        expect(!weight || static_cast<int>(weight->size()) == width, "a norm's weight has its width");
        program_.rms_norm(slice(from), slice(to), width, groups, weight ? weight->data() : nullptr, eps, add, scale);
    }
    void layer_norm(Place from, Place to, const Floats& weight, const Floats& bias, float eps) {
        const int width = static_cast<int>(weight.size());
        check(from, width), check(to, width);
        expect(bias.size() == weight.size(), "a norm's bias has the width of its weight");
        program_.layer_norm(slice(from), slice(to), width, weight.data(), bias.data(), eps);
    }
    void gelu_product(Place gate, Place up, Place to, int width) {
        check(gate, width), check(up, width), check(to, width);
        program_.gelu_product(slice(gate), slice(up), slice(to), width);
    }
    void angles(Place to, const Floats& inverse) {
        check(to, 2 * static_cast<int>(inverse.size()));
        program_.angles(slice(to), inverse.data(), static_cast<int>(inverse.size()));
    }
    void rotate(Place x, int heads, int dim, Place angles) {
        expect(dim % 2 == 0, "a rotated head has pairs");
        check(x, heads * dim), check(angles, dim);
        program_.rotate(slice(x), heads, dim, slice(angles));
    }
    void store(Place keys, Place values, int kv_heads, int dim, int cache, bool bf16) {
        expect(cache >= 0 && dim % 2 == 0, "a cached head has an even number of dimensions, and a cache a number");
        check(keys, kv_heads * dim), check(values, kv_heads * dim);
        caches_ = std::max(caches_, cache + 1);
        program_.store(slice(keys), slice(values), kv_heads, dim, cache, bf16 ? Dtype::bf16 : Dtype::f32);
    }
    void attend(Place q, Place to, int heads, int kv_heads, int dim, int cache, bool bf16, int64_t window,
                float scale) {
        expect(cache >= 0 && dim % 2 == 0, "a cached head has an even number of dimensions, and a cache a number");
        check(q, heads * dim), check(to, heads * dim);
        expect(kv_heads > 0 && heads > 0 && heads % kv_heads == 0 && heads / kv_heads <= kQueryRows, "heads don't divide");
        caches_ = std::max(caches_, cache + 1);
        program_.attend(slice(q), slice(to), heads, kv_heads, dim, cache, bf16 ? Dtype::bf16 : Dtype::f32, window,
                        scale);
    }
    void keep(const std::vector<int>& buffers) {
        for (const int buffer : buffers) check(buffer);
        program_.keep(buffers);
    }
    void rescore(Place x, Place logits, const Rows& rows, int count) {
        const Table from = table(rows);
        check(x, from.width), check(logits, from.rows);
        expect(count > 0, "at least one logit is computed again");
        program_.rescore(slice(x), slice(logits), from, count);
    }
    void soft_cap(Place x, int width, float cap) {
        check(x, width);
        program_.soft_cap(slice(x), width, cap);
    }
    // Row i is the token ids[i] of request places[i, 0] at position places[i, 1] there; caches are by request and layer.
    void run(const Ids& ids, const Places& places, const Caches& caches, const Flags& wanted) {
        const size_t rows = ids.size(), layers = caches.shape(1);
        expect(places.shape(0) == rows && wanted.size() == rows, "a row has a token, a place and a flag");
        expect(static_cast<int>(layers) >= caches_, "too few caches");
        held_.clear();
        for (size_t i = 0; i < caches.shape(0); i++)
            for (size_t layer = 0; layer < layers; layer++) {
                const int64_t slots = caches(i, layer, 2);
                expect(slots > 0 && slots % kLanes == 0, "a cache's slots are a multiple of 16");
                held_.push_back({reinterpret_cast<uint32_t*>(caches(i, layer, 0)),
                                 reinterpret_cast<uint32_t*>(caches(i, layer, 1)), slots});
            }
        pass_.clear();
        for (size_t i = 0; i < rows; i++) {
            expect(ids(i) < vocabulary_, "a table has no row for a token");
            expect(places(i, 0) >= 0 && places(i, 0) < static_cast<int64_t>(caches.shape(0)) && places(i, 1) >= 0,
                   "a row belongs to no request");
            pass_.add({places(i, 1), held_.data() + places(i, 0) * layers}, ids(i));
        }
        pass_.team = threads();
        const nb::gil_scoped_release others_may_run;
        program_.run(pass_, wanted.data());
    }

  private:
    void check(int buffer) const { expect(buffer >= 0 && buffer < program_.buffers(), "there is no such buffer"); }
    void check(const Place& place, int width) const {
        check(place.first);
        expect(width >= 0 && place.second >= 0 && width <= program_.width(place.first) - place.second, "columns outside of a buffer");
    }

    Program program_;
    Pass pass_;
    std::vector<Cache> held_;  // by request and layer
    int caches_ = 0;
    int vocabulary_ = std::numeric_limits<int>::max();
};

}  // namespace

NB_MODULE(_native, m) {
    m.def("kernels", [] { return std::string(kernels().name); });
    m.def("threads", &threads);
    m.def("set_threads", &set_threads);
    // What is written to must not be a converted copy either.
    m.def("linear", &linear_of, nb::arg("x"), nb::arg("matrices"), nb::arg("to").noconvert(), nb::arg("biases"),
          nb::arg("clip_x"), nb::arg("clip_y"));
    m.def("dense", &dense_of, nb::arg("x"), nb::arg("w"), nb::arg("bias").none(), nb::arg("y").noconvert());
    m.def("pack_groups", &pack_groups_of, nb::arg("x"), nb::arg("divisors"), nb::arg("q").noconvert(),
          nb::arg("scales").noconvert());
    m.def("rms_norm", &rms_norm_of, nb::arg("x"), nb::arg("weight").none(), nb::arg("eps"), nb::arg("y").noconvert());
    nb::class_<Bound>(m, "Program")
        .def(nb::init<int, int>(), nb::arg("max_rows"), nb::arg("max_wanted"))
        .def("buffer", &Bound::buffer, nb::arg("width"), nb::arg("last") = false)
        .def("view", [](nb::handle self, int buffer) { return nb::cast<Bound&>(self).view(self, buffer); })
        // What a program keeps pointers to must not be a converted copy, and lives as long as the program (keep_alive
        // counts arguments from 1, which is the program itself).
        .def("lookup", &Bound::lookup, nb::arg("rows").noconvert(), nb::arg("to"), nb::arg("factor"), nb::arg("absent"),
             nb::keep_alive<1, 2>())
        .def("linear", &Bound::linear, nb::arg("x"), nb::arg("matrices").noconvert(),
             nb::arg("biases").noconvert() = std::vector<std::optional<Floats>>{}, nb::arg("add") = false,
             nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
        .def("dense", &Bound::dense, nb::arg("x"), nb::arg("w").noconvert(), nb::arg("bias").noconvert().none(),
             nb::arg("to"), nb::arg("clip"), nb::arg("add"), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
        .def("gated", &Bound::gated, nb::arg("x"), nb::arg("gate").noconvert(), nb::arg("up").noconvert(),
             nb::arg("down").noconvert(), nb::arg("to"), nb::arg("kind") = "gelu", nb::arg("add") = false,
             nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>())
        .def("rms_norm", &Bound::rms_norm, nb::arg("x"), nb::arg("to"), nb::arg("width"), nb::arg("groups"),
             nb::arg("weight").noconvert().none(), nb::arg("eps"), nb::arg("add"), nb::arg("scale"),
             nb::keep_alive<1, 6>())
        .def("layer_norm", &Bound::layer_norm, nb::arg("x"), nb::arg("to"), nb::arg("weight").noconvert(),
             nb::arg("bias").noconvert(), nb::arg("eps"), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>())
        .def("gelu_product", &Bound::gelu_product)
        .def("angles", &Bound::angles, nb::arg("to"), nb::arg("inverse").noconvert(), nb::keep_alive<1, 3>())
        .def("rotate", &Bound::rotate)
        .def("store", &Bound::store)
        .def("attend", &Bound::attend)
        .def("keep", &Bound::keep)
        .def("rescore", &Bound::rescore, nb::arg("x"), nb::arg("logits"), nb::arg("rows").noconvert(), nb::arg("count"),
             nb::keep_alive<1, 4>())
        .def("soft_cap", &Bound::soft_cap)
        .def("run", &Bound::run);
}
