// Recurrent layers, losses, quantised products, random numbers: what ONNX's own tests leave out.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "op/op.h"
#include "op/random.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::Tensor;

// Numbers in [-1, 1) that follow from the seed.
Tensor noise(Dims dims, uint32_t seed, DType dtype = DType::f32) {
  RandomStream stream(Attributes{{"seed", int64_t(seed)}});
  std::vector<double> values(size_t(tensor::element_count(std::span(dims))));
  for (double& value : values) value = 2 * stream.uniform() - 1;
  return store(dtype, std::move(dims), values);
}

template <class T>
Tensor of(Dims dims, std::initializer_list<T> values) {
  return Tensor::of<T>(std::move(dims), values);
}

std::optional<ErrorCode> code_of(std::string_view name, std::vector<Tensor> inputs, const Attributes& attributes = {},
                                 size_t outputs = 1) {
  try {
    evaluate(get_op(name), std::move(inputs), attributes, outputs);
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

// Elements [from, from + count) of axis `axis`.
Tensor part(const Tensor& x, int64_t axis, int64_t from, int64_t count) {
  return evaluate(get_op("Slice"),
                  {x, of<int64_t>({1}, {from}), of<int64_t>({1}, {from + count}), of<int64_t>({1}, {axis})}, {})[0];
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance = 1e-6) {
  ASSERT_EQ(a.dims(), b.dims());
  const std::vector<double> left = load<double>(a), right = load<double>(b);
  for (size_t i = 0; i < left.size(); ++i) EXPECT_NEAR(left[i], right[i], tolerance) << i;
}

constexpr int64_t kSteps = 4, kBatch = 3, kWidth = 2, kHidden = 5;

struct Layer {
  std::string_view name;
  int64_t gates;
  size_t outputs;
};

class Recurrent : public testing::TestWithParam<Layer> {
 protected:
  std::vector<Tensor> inputs(int64_t directions) const {
    const int64_t rows = GetParam().gates * kHidden;
    return {noise({kSteps, kBatch, kWidth}, 1), noise({directions, rows, kWidth}, 2),
            noise({directions, rows, kHidden}, 3), noise({directions, 2 * rows}, 4)};
  }
  std::vector<Tensor> run(std::vector<Tensor> in, const Attributes& attributes) const {
    return evaluate(get_op(GetParam().name), std::move(in), attributes, GetParam().outputs);
  }
};

TEST_P(Recurrent, BothDirectionsAreEachOfThem) {
  const std::vector<Tensor> in = inputs(2);
  const auto both = run(in, {{"direction", std::string("bidirectional")}});
  for (int64_t d = 0; d < 2; ++d) {
    const std::vector<Tensor> one{in[0], part(in[1], 0, d, 1), part(in[2], 0, d, 1), part(in[3], 0, d, 1)};
    const auto single = run(one, {{"direction", std::string(d == 0 ? "forward" : "reverse")}});
    expect_close(part(both[0], 1, d, 1), single[0]);
    for (size_t i = 1; i < both.size(); ++i) expect_close(part(both[i], 0, d, 1), single[i]);
  }
}

TEST_P(Recurrent, BatchFirstIsTheSameTransposed) {
  std::vector<Tensor> in = inputs(2);
  const Tensor initial = noise({2, kBatch, kHidden}, 5);
  in.insert(in.end(), {Tensor(), initial});
  const Attributes attributes{{"direction", std::string("bidirectional")}};
  const auto expected = run(in, attributes);
  const auto transpose = [](const Tensor& x, std::vector<int64_t> perm) {
    return evaluate(get_op("Transpose"), {x}, {{"perm", std::move(perm)}})[0];
  };
  in[0] = transpose(in[0], {1, 0, 2});
  in[5] = transpose(initial, {1, 0, 2});
  Attributes batch_first = attributes;
  batch_first.set("layout", int64_t{1});
  const auto found = run(in, batch_first);
  expect_close(found[0], transpose(expected[0], {2, 0, 1, 3}));
  for (size_t i = 1; i < found.size(); ++i) expect_close(found[i], transpose(expected[i], {1, 0, 2}));
}

TEST_P(Recurrent, ShortSequencesAreRunAloneAndFilledWithZeros) {
  std::vector<Tensor> in = inputs(1);
  const std::vector<int32_t> lengths{2, 0, 4};
  in.push_back(of<int32_t>({3}, {2, 0, 4}));
  const Attributes reverse{{"direction", std::string("reverse")}};
  const auto all = run(in, reverse);
  in.pop_back();
  for (int64_t b = 0; b < kBatch; ++b) {
    std::vector<Tensor> one = in;
    one[0] = part(part(in[0], 1, b, 1), 0, 0, lengths[size_t(b)]);
    const auto alone = run(one, reverse);
    const Tensor row = part(all[0], 2, b, 1);
    expect_close(part(row, 0, 0, lengths[size_t(b)]), alone[0]);
    expect_close(part(all[1], 1, b, 1), alone[1]);
    for (const double rest : load<double>(part(row, 0, lengths[size_t(b)], kSteps - lengths[size_t(b)])))
      EXPECT_EQ(rest, 0);
  }
}

TEST_P(Recurrent, RefusesWhatDoesNotFit) {
  const std::vector<Tensor> good = inputs(1);
  const auto refused = [&](size_t input, Tensor with, const Attributes& attributes = {}) {
    std::vector<Tensor> in = good;
    if (in.size() <= input) in.resize(input + 1);
    in[input] = std::move(with);
    return code_of(GetParam().name, in, attributes) == ErrorCode::invalid_input;
  };
  EXPECT_FALSE(refused(0, good[0]));
  EXPECT_TRUE(refused(0, noise({kSteps, kBatch, kWidth + 1}, 1)));
  EXPECT_TRUE(refused(0, noise({kSteps, kBatch, kWidth}, 1, DType::f16)));
  EXPECT_TRUE(refused(2, noise({1, GetParam().gates * kHidden, kHidden - 1}, 1)));
  EXPECT_TRUE(refused(3, noise({1, GetParam().gates * kHidden}, 1)));
  EXPECT_TRUE(refused(4, of<int32_t>({3}, {1, 5, 1})));
  EXPECT_TRUE(refused(4, of<int32_t>({3}, {1, -1, 1})));
  EXPECT_TRUE(refused(5, noise({1, kBatch + 1, kHidden}, 1)));
  for (const Attributes& attributes :
       {Attributes{{"direction", std::string("sideways")}}, Attributes{{"layout", int64_t{2}}},
        Attributes{{"hidden_size", int64_t{4}}}, Attributes{{"clip", -1.0}},
        Attributes{{"direction", std::string("bidirectional")}},
        Attributes{{"activations", std::vector<std::string>(4, "Cosh")}},
        Attributes{{"activations", std::vector<std::string>(9, "Tanh")}}}) {
    EXPECT_TRUE(refused(0, good[0], attributes)) << attributes.begin()->first;
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, Recurrent,
                         testing::Values(Layer{"RNN", 1, 2}, Layer{"GRU", 3, 2}, Layer{"LSTM", 4, 3}));

TEST(RecurrentActivations, TakeAlphaAndBetaInOrder) {
  // One step from zero: H = f(x) with f = 2 tanh(0.5 x) forwards and 3 x + 1 backwards.
  const std::vector<Tensor> in{of<float>({1, 1, 1}, {0.7f}), of<float>({2, 1, 1}, {1, 1}),
                               of<float>({2, 1, 1}, {0, 0})};
  const Attributes attributes{{"direction", std::string("bidirectional")},
                              {"activations", std::vector<std::string>{"ScaledTanh", "Affine"}},
                              {"activation_alpha", std::vector<double>{2, 3}},
                              {"activation_beta", std::vector<double>{0.5, 1}}};
  const auto out = evaluate(get_op("RNN"), in, attributes, 2);
  expect_close(out[1], of<float>({2, 1, 1}, {float(2 * std::tanh(0.35)), 3.1f}));
  EXPECT_EQ(code_of("RNN", in,
                    {{"direction", std::string("bidirectional")},
                     {"activations", std::vector<std::string>(2, "ScaledTanh")}}),
            ErrorCode::invalid_input);
}

TEST(LinearAttention, RefusesGatesThatTheRuleDoesNotHave) {
  const std::vector<Tensor> in{noise({1, 2, 4}, 1), noise({1, 2, 4}, 2), noise({1, 2, 6}, 3)};
  Attributes a{{"q_num_heads", int64_t{2}}, {"kv_num_heads", int64_t{2}}, {"update_rule", std::string("linear")}};
  EXPECT_EQ(code_of("LinearAttention", in, a, 2), std::nullopt);
  std::vector<Tensor> with_beta = in;
  with_beta.insert(with_beta.end(), {Tensor(), Tensor(), noise({1, 2, 2}, 4)});
  EXPECT_EQ(code_of("LinearAttention", with_beta, a, 2), ErrorCode::invalid_input);
  a.set("update_rule", std::string("delta"));
  EXPECT_EQ(code_of("LinearAttention", with_beta, a, 2), std::nullopt);
  EXPECT_EQ(code_of("LinearAttention", in, a, 2), ErrorCode::invalid_input);
  a.set("kv_num_heads", int64_t{3});
  EXPECT_EQ(code_of("LinearAttention", with_beta, a, 2), ErrorCode::invalid_input);
}

TEST(Losses, RefuseLabelsThatAreNoClass) {
  for (const auto name : {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}) {
    const Tensor scores = noise({2, 3}, 1);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({2}, {0, 2})}), std::nullopt);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({2}, {0, 3})}), ErrorCode::invalid_input);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({2}, {-1, 0})}), ErrorCode::invalid_input);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({2}, {INT64_MIN, 0})}, {{"ignore_index", INT64_MIN}}), std::nullopt);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({3}, {0, 1, 2})}), ErrorCode::invalid_input);
    EXPECT_EQ(code_of(name, {scores, of<int64_t>({2}, {0, 2})}, {{"reduction", std::string("max")}}),
              ErrorCode::invalid_input);
  }
}

TEST(QuantisedProducts, TakeAZeroPointForEachRowAndColumn) {
  const Tensor a = of<uint8_t>({2, 2}, {10, 20, 30, 40}), b = of<int8_t>({2, 3}, {1, 2, 3, -4, -5, -6});
  const Tensor y =
      evaluate(get_op("MatMulInteger"), {a, b, of<uint8_t>({2}, {10, 30}), of<int8_t>({3}, {0, 1, -1})}, {})[0];
  const auto found = load<int64_t>(y);  // [[0, 10], [0, 10]] times [[1, 1, 4], [-4, -6, -5]]
  EXPECT_EQ(found, (std::vector<int64_t>{-40, -60, -50, -40, -60, -50}));
  EXPECT_EQ(code_of("MatMulInteger", {a, b, of<uint8_t>({3}, {1, 2, 3})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("MatMulInteger", {a, a, of<int8_t>({1}, {1})}), ErrorCode::invalid_input);
}

TEST(QuantisedProducts, OfSmallFloatsSaturate) {
  const auto f8 = [](Dims dims, std::vector<double> values) { return store(DType::f8e4m3fn, std::move(dims), values); };
  const Tensor one = Tensor::scalar(1.0f), half = Tensor::scalar(0.5f), zero = f8({}, {0});
  const Tensor y =
      evaluate(get_op("QLinearMatMul"),
               {f8({1, 2}, {2, 3}), one, zero, f8({2, 2}, {1, 448, 0.5, 448}), one, zero, half, zero}, {})[0];
  EXPECT_EQ(load<double>(y), (std::vector<double>{7, 448}));
}

TEST(Random, IsNumpysStream) {
  RandomStream uniform(Attributes{{"seed", int64_t{0}}});
  EXPECT_DOUBLE_EQ(uniform.uniform(), 0.5488135039273248);
  EXPECT_DOUBLE_EQ(uniform.uniform(), 0.7151893663724195);
  RandomStream normal(Attributes{{"seed", 42.0}});
  EXPECT_NEAR(normal.normal(), 0.4967141530112327, 1e-15);
  EXPECT_NEAR(normal.normal(), -0.13826430117118466, 1e-15);
  EXPECT_NEAR(normal.normal(), 0.6476885381006925, 1e-15);
  for (const double odd : {-1.0, 0.5, 1e30, std::numeric_limits<double>::quiet_NaN()})
    RandomStream(Attributes{{"seed", odd}}).uniform();
}

TEST(Random, HasTheAskedDistribution) {
  const Attributes a{{"shape", std::vector<int64_t>{20000}}, {"mean", 3.0}, {"scale", 2.0}, {"seed", 1.0}};
  double sum = 0, squares = 0;
  for (const double x : load<double>(evaluate(get_op("RandomNormal"), {}, a)[0])) {
    sum += x - 3;
    squares += (x - 3) * (x - 3);
  }
  EXPECT_NEAR(sum / 20000, 0, 0.05);
  EXPECT_NEAR(squares / 20000, 4, 0.15);
  const Tensor logs = of<float>({1, 3}, {0, std::log(3.0f), -std::numeric_limits<float>::infinity()});
  int64_t second = 0;
  for (const int64_t c : load<int64_t>(evaluate(get_op("Multinomial"), {logs}, {{"sample_size", int64_t{20000}}})[0])) {
    EXPECT_LT(c, 2);
    second += c;
  }
  EXPECT_NEAR(double(second) / 20000, 0.75, 0.02);
  EXPECT_EQ(code_of("Multinomial", {of<float>({1, 1}, {-std::numeric_limits<float>::infinity()})}),
            ErrorCode::invalid_input);
  EXPECT_EQ(code_of("Multinomial", {Tensor(DType::f32, {1, 0})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("RandomUniform", {}, {{"shape", std::vector<int64_t>{-1}}}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("RandomUniform", {}, {{"shape", std::vector<int64_t>{INT64_MAX, 2}}}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("RandomUniformLike", {of<int64_t>({1}, {1})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("Dropout", {noise({3}, 1), Tensor::scalar(1.0f), Tensor::scalar(true)}), ErrorCode::invalid_input);
}

// Inference lets pass what only the run knows; evaluating does not.
TEST(Hostile, WeightsOfRecurrentLayersMustFitAtTheRun) {
  const Attributes attributes{{"hidden_size", int64_t{2}}};
  const auto refused = [&](std::vector<Tensor> inputs) {
    EvaluateContext context{attributes, std::move(inputs), std::vector<Tensor>(1)};
    try {
      get_op("LSTM").evaluate(context);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const Tensor x = noise({3, 1, 4}, 1), w = noise({1, 8, 4}, 2), r = noise({1, 8, 2}, 3);
  EXPECT_EQ(refused({x, w, r}), "");
  EXPECT_NE(refused({x, noise({1, 8, 3}, 2), r}).find("W: expected [1, 8, 4], found [1, 8, 3]"), std::string::npos);
  EXPECT_NE(refused({x, w, noise({1, 4, 2}, 3)}).find("R: expected [1, 8, 2]"), std::string::npos);
  EXPECT_NE(refused({x, w, r, noise({1, 8}, 4)}).find("B: expected [1, 16]"), std::string::npos);
  EXPECT_NE(refused({x, w, r, Tensor(), of<int32_t>({2}, {3, 3})}).find("sequence_lens"), std::string::npos);
  EXPECT_NE(refused({x, w, r, Tensor(), Tensor(), noise({1, 2, 2}, 5)}).find("initial_h"), std::string::npos);
}

TEST(Hostile, LengthsAndScoresAreChecked) {
  const Tensor signal = noise({1, 8, 1}, 1);
  for (const int64_t length : {int64_t{0}, int64_t{-5}, INT64_MIN})
    EXPECT_EQ(code_of("DFT", {signal, Tensor::scalar(length)}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("DFT", {signal, Tensor::scalar(INT64_MAX)}), ErrorCode::invalid_input);  // twice as many numbers
  for (const int64_t axis : {2, -1, 7})
    EXPECT_EQ(code_of("DFT", {signal, Tensor(), Tensor::scalar(axis)}), ErrorCode::invalid_input);
  for (const int64_t step : {int64_t{0}, int64_t{-1}})
    EXPECT_EQ(code_of("STFT", {signal, Tensor::scalar(step), Tensor(), Tensor::scalar(int64_t{4})}),
              ErrorCode::invalid_input);
  EXPECT_EQ(code_of("STFT", {signal, Tensor::scalar(int64_t{1}), Tensor(), Tensor::scalar(int64_t{9})}),
            ErrorCode::invalid_input);
  EXPECT_EQ(code_of("STFT", {signal, Tensor::scalar(int64_t{1})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("HannWindow", {Tensor::scalar(int64_t{-1})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("ReverseSequence", {noise({3, 2}, 1), of<int64_t>({2}, {1, 4})}), ErrorCode::invalid_input);
  EXPECT_EQ(code_of("Det", {noise({2, 3}, 1)}), ErrorCode::invalid_input);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor boxes = of<float>({1, 2, 4}, {0, 0, 1, 1, 5, 5, nan, 6});
  const Tensor kept = evaluate(get_op("NonMaxSuppression"),
                               {boxes, of<float>({1, 1, 2}, {nan, 0.5f}), Tensor::scalar(INT64_MAX)}, {})[0];
  EXPECT_EQ(load<int64_t>(kept), (std::vector<int64_t>{0, 0, 1}));
}

}  // namespace
}  // namespace lathe::op
