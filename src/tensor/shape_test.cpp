// Symbolic dimensions behave like the polynomials they stand for: every law is checked on random expressions,
// and by putting numbers in for the symbols.
#include "tensor/shape.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace lathe::tensor {
namespace {

template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing thrown";
  return ErrorCode::internal;
}

using Bindings = std::map<std::string, int64_t, std::less<>>;

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t number(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  Dim symbol() {
    static const char* const kNames[] = {"batch", "sequence_length", "n", "past-len", "x/y:0"};
    return Dim::symbol(kNames[number(0, 4)]);
  }
  Dim term() {
    Dim result(number(-3, 3));
    for (int64_t i = number(0, 2); i > 0; --i) result = result * symbol();
    return result;
  }
  Dim dim() {
    Dim result;
    for (int64_t i = number(0, 4); i > 0; --i) result = result + term();
    return result;
  }
  Bindings bindings() {
    Bindings all;
    for (const char* name : {"batch", "sequence_length", "n", "past-len", "x/y:0"}) all[name] = number(-9, 9);
    return all;
  }

 private:
  std::mt19937 engine_;
};

constexpr int kTrials = 2000;

TEST(Dim, ObeysTheLawsOfARing) {
  Random random(1);
  for (int i = 0; i < kTrials; ++i) {
    const Dim a = random.dim(), b = random.dim(), c = random.dim();
    ASSERT_EQ(a + b, b + a);
    ASSERT_EQ((a + b) + c, a + (b + c));
    ASSERT_EQ(a * b, b * a);
    ASSERT_EQ((a * b) * c, a * (b * c));
    ASSERT_EQ(a * (b + c), a * b + a * c);
    ASSERT_EQ(a + Dim(0), a);
    ASSERT_EQ(a * Dim(1), a);
    ASSERT_EQ(a * Dim(0), Dim(0));
    ASSERT_EQ(a - a, Dim(0));
    ASSERT_EQ((a - b) + b, a);
  }
}

TEST(Dim, BindingIsEvaluation) {
  Random random(2);
  for (int i = 0; i < kTrials; ++i) {
    const Dim a = random.dim(), b = random.dim();
    const Bindings values = random.bindings();
    const int64_t x = a.bind(values).value();
    const int64_t y = b.bind(values).value();
    ASSERT_EQ((a + b).bind(values).value(), x + y);
    ASSERT_EQ((a - b).bind(values).value(), x - y);
    ASSERT_EQ((a * b).bind(values).value(), x * y);
    // One symbol after the other, in any grouping, ends at the same number.
    Bindings first(values.begin(), std::next(values.begin(), 2));
    ASSERT_EQ(a.bind(first).bind(values).value(), x);
  }
}

TEST(Dim, TextIsParsedBack) {
  Random random(3);
  for (int i = 0; i < kTrials; ++i) {
    const Dim a = random.dim() * random.term();
    ASSERT_EQ(Dim::parse(a.to_string()), a) << a.to_string();
  }
}

TEST(Dim, Texts) {
  const Dim n = Dim::symbol("n");
  const Dim past = Dim::symbol("past_sequence_length");
  EXPECT_EQ(Dim(128).to_string(), "128");
  EXPECT_EQ(Dim(-3).to_string(), "-3");
  EXPECT_EQ(Dim(0).to_string(), "0");
  EXPECT_EQ(n.to_string(), "n");
  EXPECT_EQ((Dim(2) * n - Dim(1)).to_string(), "2*n - 1");
  EXPECT_EQ((Dim(0) - n).to_string(), "-n");
  EXPECT_EQ(Dim::parse("past_sequence_length + 2*n - 1"), past + n + n - Dim(1));
  EXPECT_EQ(Dim::parse("n+1"), n + Dim(1));
  EXPECT_EQ(Dim::parse(" 7 "), Dim(7));
  EXPECT_EQ(Dim::parse("n + n"), Dim(2) * n);
  EXPECT_EQ(Dim::parse("n - n"), Dim(0));
  EXPECT_EQ((n * Dim::symbol("a")).to_string(), "a.n");
}

TEST(Dim, AnyTextNamesASymbolThatIsParsedBack) {
  const char* names[] = {"n",          "Min(4096, s0)",
                         "2x",         "-a",
                         "-1",         "4096",
                         "a b",        "a+b",
                         "a*b",        "a.b",
                         "[n]",        "{n}",
                         "\"n\"",      "%n",
                         "a,b",        "\n",
                         "\xc3\xa9ge", "~",
                         "a-b",        "n/2",
                         "~32x~",      "",
                         ".",          "a..b",
                         "+",          "99999999999999999999"};
  std::map<std::string, std::string> seen;
  for (const char* name : names) {
    const Dim dim = Dim::symbol(name);
    ASSERT_EQ(dim.symbols().size(), 1u) << name;
    for (const Dim& in : {dim, Dim(3) * dim, dim * dim - Dim(2), Dim(0) - dim, dim * Dim::symbol("q")}) {
      EXPECT_EQ(Dim::parse(in.to_string()), in) << name << " as " << in.to_string();
      EXPECT_EQ(Dim::from_text(in.to_string()), in) << name << " as " << in.to_string();
      EXPECT_EQ(in.to_string().find_first_of("[]{},\"%\n\r\t"), std::string::npos) << in.to_string();
    }
    // "" and "~" share their text: the empty name has to be written somehow.
    const auto [at, fresh] = seen.emplace(dim.to_string(), name);
    EXPECT_TRUE(fresh || at->second + name == "~") << at->second << " and " << name;
    EXPECT_EQ(dim.bind({{dim.to_string(), 7}}), Dim(7)) << name;
  }
}

TEST(Dim, TextOfOthersIsAnExpressionOrASymbol) {
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(Dim::from_text("n + 1"), n + Dim(1));
  EXPECT_EQ(Dim::from_text("2*n"), n + n);
  EXPECT_EQ(Dim::from_text("4096"), Dim(4096));
  EXPECT_EQ(Dim::from_text("-n"), Dim(0) - n);
  for (const char* text : {"Min(4096, s0)", "2x", "-1", "", " ", "a*b", "n n", "[n]", "a..b", "n.",
                           "9223372036854775807*n + 9223372036854775807*n"}) {
    EXPECT_EQ(Dim::from_text(text), Dim::symbol(text)) << text;
  }
  EXPECT_EQ(Dim::from_text("Min(4096, s0)").to_string(), "Min(4096~2c~20s0)");
}

TEST(Dim, BadTextIsRefused) {
  for (const char* text : {"", " ", "+", "n +", "2x", "3*", "n n", "1 2", "99999999999999999999", "++n",
                           "a*b", "a..b", ".n", "n.", "[n]", "9223372036854775807 + 1"}) {
    try {
      const Dim dim = Dim::parse(text);
      // "3*" may be read as 3 and "++n" as n, if they then print as something that parses to the same.
      EXPECT_EQ(Dim::parse(dim.to_string()), dim) << text;
      EXPECT_TRUE(std::string(text) == "3*" || std::string(text) == "++n") << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << text;
    }
  }
}

TEST(Dim, ExactDivisionInvertsMultiplication) {
  Random random(4);
  for (int i = 0; i < kTrials; ++i) {
    const Dim a = random.dim();
    const Dim divisor = random.term();
    if (divisor == Dim(0)) {
      ASSERT_EQ(divide_exactly(a, divisor), std::nullopt);
      continue;
    }
    ASSERT_EQ(divide_exactly(a * divisor, divisor), a) << a.to_string() << " by " << divisor.to_string();
    // Whatever it finds is right.
    const auto quotient = divide_exactly(a, divisor);
    if (quotient) {
      ASSERT_EQ(*quotient * divisor, a);
    }
  }
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(divide_exactly(n + Dim(1), Dim(2)), std::nullopt);
  EXPECT_EQ(divide_exactly(n, Dim::symbol("m")), std::nullopt);
  EXPECT_EQ(divide_exactly(n + Dim(1), n + Dim(1)), Dim(1));
  EXPECT_EQ(divide_exactly(Dim(0), Dim(0)), std::nullopt);
}

TEST(Dim, ConstantsAndSymbols) {
  const Dim mixed = Dim::symbol("b") * Dim::symbol("a") + Dim::symbol("a") + Dim(3);
  EXPECT_FALSE(mixed.is_constant());
  EXPECT_EQ(mixed.constant(), std::nullopt);
  EXPECT_EQ(code_of([&] { mixed.value(); }), ErrorCode::internal);
  EXPECT_EQ(mixed.symbols(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ((mixed - mixed).constant(), 0);
  EXPECT_TRUE(Dim(5).symbols().empty());
}

TEST(Dim, OverflowIsRefused) {
  const Dim large(INT64_MAX);
  EXPECT_EQ(code_of([&] { large + Dim(1); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { large* Dim(2); }), ErrorCode::invalid_input);
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(code_of([&] { large* n + n; }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([&] { (large * n).bind(Bindings{{"n", 2}}); }), ErrorCode::invalid_input);
}

TEST(Shape, ConversionsAndCounts) {
  const Shape numbers{2, 3, 4};
  EXPECT_EQ(to_dims(numbers), (Dims{2, 3, 4}));
  EXPECT_EQ(element_count(numbers), Dim(24));
  EXPECT_EQ(element_count(Shape{}), Dim(1));
  EXPECT_EQ(element_count(Dims{}), 1);
  EXPECT_EQ(element_count(Dims{5, 0, 7}), 0);
  EXPECT_EQ(code_of([] { element_count(Dims{2, -1}); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { element_count(Dims{INT64_MAX, 2}); }), ErrorCode::invalid_input);
  const Shape symbolic{Dim::symbol("batch"), 576};
  EXPECT_EQ(to_dims(symbolic), std::nullopt);
  EXPECT_EQ(to_string(symbolic), "[batch, 576]");
  EXPECT_EQ(to_string(Dims{2, 576}), "[2, 576]");
  EXPECT_EQ(element_count(symbolic), Dim(576) * Dim::symbol("batch"));
  EXPECT_EQ(to_shape(Dims{1, 2}), (Shape{1, 2}));
}

// NumPy's rule on all small shapes, by its definition: aligned at the right, equal or 1.
TEST(Shape, BroadcastsLikeNumPy) {
  std::vector<Dims> shapes{{}};
  for (size_t begin = 0, rank = 0; rank < 3; ++rank) {
    const size_t end = shapes.size();
    for (; begin < end; ++begin) {
      for (const int64_t dim : {0, 1, 2, 3}) {
        Dims longer = shapes[begin];
        longer.push_back(dim);
        shapes.push_back(longer);
      }
    }
  }
  for (const Dims& a : shapes) {
    for (const Dims& b : shapes) {
      Dims wanted;
      bool possible = true;
      for (size_t i = 1; i <= std::max(a.size(), b.size()); ++i) {
        const int64_t x = i <= a.size() ? a[a.size() - i] : 1;
        const int64_t y = i <= b.size() ? b[b.size() - i] : 1;
        possible &= x == y || x == 1 || y == 1;
        wanted.insert(wanted.begin(), x == 1 ? y : x);
      }
      if (possible) {
        ASSERT_EQ(to_dims(broadcast(to_shape(a), to_shape(b))), wanted);
      } else {
        ASSERT_EQ(code_of([&] { broadcast(to_shape(a), to_shape(b)); }), ErrorCode::invalid_input);
      }
    }
  }
}

TEST(Shape, BroadcastsSymbols) {
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(broadcast(n, Dim(1)), n);
  EXPECT_EQ(broadcast(Dim(1), n), n);
  EXPECT_EQ(broadcast(n, n), n);
  EXPECT_EQ(broadcast(n, Dim(4)), Dim(4));
  EXPECT_EQ(broadcast(Dim(4), n), Dim(4));
  EXPECT_EQ(broadcast(Shape{n, 1, 64}, Shape{9, 1}), (Shape{n, 9, 64}));
}

}  // namespace
}  // namespace lathe::tensor
