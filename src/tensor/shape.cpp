#include "tensor/shape.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/checked.h"

namespace lathe::tensor {
namespace {

std::vector<std::string> factors(std::string_view product) {
  std::vector<std::string> parts;
  while (!product.empty()) {
    const size_t dot = product.find('.');
    parts.emplace_back(product.substr(0, dot));
    product = dot == std::string_view::npos ? std::string_view() : product.substr(dot + 1);
  }
  return parts;
}

std::string product_of(std::vector<std::string> parts) {
  std::sort(parts.begin(), parts.end());
  return fmt::format("{}", fmt::join(parts, "."));
}

// A name in the characters a symbol may have. '~' stays, so that what is escaped already stays the same
// symbol.
std::string symbol_text(std::string_view name) {
  if (name.empty()) return "~";
  std::string text;
  for (const char c : name) {
    const bool first = text.empty();
    const bool sign_or_digit = c == '-' || (c >= '0' && c <= '9');
    const bool control = static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
    const bool reserved = std::string_view("+*.,[]{}\"%").find(c) != std::string_view::npos;
    if (control || reserved || (first && sign_or_digit)) {
      text += fmt::format("~{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

Dim Dim::symbol(std::string_view name) {
  Dim dim;
  dim.terms_.emplace(symbol_text(name), 1);
  return dim;
}

std::optional<int64_t> Dim::constant() const {
  if (!terms_.empty()) return std::nullopt;
  return constant_;
}

int64_t Dim::value() const {
  LATHE_CHECK(terms_.empty(), "dimension {} is symbolic", to_string());
  return constant_;
}

std::string Dim::to_string() const {
  std::string text;
  const auto append = [&](int64_t coefficient, std::string_view symbol) {
    const bool negative = coefficient < 0;
    if (!text.empty())
      text += negative ? " - " : " + ";
    else if (negative)
      text += "-";
    const uint64_t magnitude = negative ? 0 - uint64_t(coefficient) : uint64_t(coefficient);
    if (symbol.empty())
      text += std::to_string(magnitude);
    else if (magnitude == 1)
      text += symbol;
    else
      text += fmt::format("{}*{}", magnitude, symbol);
  };
  for (const auto& [symbol, coefficient] : terms_) append(coefficient, symbol);
  if (constant_ != 0 || terms_.empty()) append(constant_, "");
  return text;
}

std::optional<Dim> Dim::find_expression(std::string_view text) {
  Dim sum;
  bool negative = false;
  bool need_term = true;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == ' ') {
      ++at;
    } else if (text[at] == '+' || text[at] == '-') {
      if (text[at] == '-')
        negative = !negative;
      else if (need_term && at != 0)
        return std::nullopt;
      need_term = true;
      ++at;
    } else {
      if (!need_term) return std::nullopt;
      size_t end = at;
      while (end < text.size() && text[end] != ' ' && text[end] != '+') ++end;
      std::string_view term = text.substr(at, end - at);
      int64_t coefficient = 1;
      const auto [rest, error] = std::from_chars(term.data(), term.data() + term.size(), coefficient);
      term.remove_prefix(size_t(rest - term.data()));
      if (error == std::errc::result_out_of_range) return std::nullopt;
      if (error == std::errc{} && !term.empty() && term.front() == '*')
        term.remove_prefix(1);
      else if (error == std::errc{} && !term.empty())
        return std::nullopt;
      if (!term.empty() && (term.front() == '.' || term.back() == '.')) return std::nullopt;
      std::vector<std::string> parts = factors(term);
      for (const std::string& part : parts) {
        if (symbol_text(part) != part) return std::nullopt;
      }
      if (negative) coefficient = -coefficient;
      int64_t& total = parts.empty() ? sum.constant_ : sum.terms_[product_of(std::move(parts))];
      if (__builtin_add_overflow(total, coefficient, &total)) return std::nullopt;
      negative = false;
      need_term = false;
      at = end;
    }
  }
  if (need_term) return std::nullopt;
  std::erase_if(sum.terms_, [](const auto& term) { return term.second == 0; });
  return sum;
}

Dim Dim::parse(std::string_view text) {
  std::optional<Dim> dim = find_expression(text);
  if (!dim) fail(ErrorCode::invalid_input, "not a dimension: \"{}\"", text);
  return *std::move(dim);
}

Dim Dim::from_text(std::string_view text) {
  std::optional<Dim> dim = find_expression(text);
  const bool negative = dim && dim->is_constant() && dim->constant_ < 0;
  return dim && !negative ? *std::move(dim) : symbol(text);
}

Dim Dim::bind(const std::map<std::string, int64_t, std::less<>>& bindings) const {
  Dim sum(constant_);
  for (const auto& [product, coefficient] : terms_) {
    Dim term(coefficient);
    for (const std::string& factor : factors(product)) {
      const auto it = bindings.find(factor);
      term = term * (it == bindings.end() ? symbol(factor) : Dim(it->second));
    }
    sum = sum + term;
  }
  return sum;
}

std::vector<std::string> Dim::symbols() const {
  std::set<std::string> names;
  for (const auto& [product, coefficient] : terms_) {
    for (std::string& factor : factors(product)) names.insert(std::move(factor));
  }
  return {names.begin(), names.end()};
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim sum = a;
  sum.constant_ = checked_add(a.constant_, b.constant_, "dimension");
  for (const auto& [symbol, coefficient] : b.terms_) {
    int64_t& total = sum.terms_[symbol];
    total = checked_add(total, coefficient, "dimension");
    if (total == 0) sum.terms_.erase(symbol);
  }
  return sum;
}

Dim operator-(const Dim& a, const Dim& b) {
  return a + b * Dim(-1);
}

Dim operator*(const Dim& a, const Dim& b) {
  Dim product(checked_mul(a.constant_, b.constant_, "dimension"));
  const auto add = [&](std::string symbol, int64_t coefficient) {
    if (coefficient == 0) return;
    Dim term;
    term.terms_.emplace(std::move(symbol), coefficient);
    product = product + term;
  };
  for (const auto& [symbol, coefficient] : a.terms_)
    add(symbol, checked_mul(coefficient, b.constant_, "dimension"));
  for (const auto& [symbol, coefficient] : b.terms_)
    add(symbol, checked_mul(coefficient, a.constant_, "dimension"));
  for (const auto& [sa, ca] : a.terms_) {
    for (const auto& [sb, cb] : b.terms_) {
      std::vector<std::string> parts = factors(sa);
      for (std::string& factor : factors(sb)) parts.push_back(std::move(factor));
      add(product_of(std::move(parts)), checked_mul(ca, cb, "dimension"));
    }
  }
  return product;
}

std::optional<Dim> divide_exactly(const Dim& a, const Dim& b) {
  if (a == b && !(a == Dim(0))) return Dim(1);
  // A divisor of one term: a number, or coefficient * symbol product.
  if (b.terms_.size() > 1 || (b.terms_.size() == 1 && b.constant_ != 0)) return std::nullopt;
  const int64_t divisor = b.terms_.empty() ? b.constant_ : b.terms_.begin()->second;
  if (divisor == 0) return std::nullopt;
  if (b.terms_.size() == 1 && a.constant_ != 0) return std::nullopt;
  if (a.constant_ % divisor != 0) return std::nullopt;
  Dim quotient(b.terms_.empty() ? a.constant_ / divisor : 0);
  for (const auto& [product, coefficient] : a.terms_) {
    if (coefficient % divisor != 0) return std::nullopt;
    std::vector<std::string> parts = factors(product);
    if (!b.terms_.empty()) {
      for (const std::string& factor : factors(b.terms_.begin()->first)) {
        const auto it = std::find(parts.begin(), parts.end(), factor);
        if (it == parts.end()) return std::nullopt;
        parts.erase(it);
      }
    }
    Dim term(coefficient / divisor);
    for (const std::string& factor : parts) term = term * Dim::symbol(factor);
    quotient = quotient + term;
  }
  return quotient;
}

Shape to_shape(std::span<const int64_t> dims) {
  return Shape(dims.begin(), dims.end());
}

std::optional<Dims> to_dims(const Shape& shape) {
  Dims dims;
  for (const Dim& dim : shape) {
    if (!dim.is_constant()) return std::nullopt;
    dims.push_back(dim.value());
  }
  return dims;
}

Dim element_count(const Shape& shape) {
  Dim count(1);
  for (const Dim& dim : shape) count = count * dim;
  return count;
}

int64_t element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) {
    if (dim < 0) fail(ErrorCode::invalid_input, "negative dimension in {}", to_string(dims));
    count = checked_mul(count, dim, "element count");
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::vector<std::string> parts;
  for (const Dim& dim : shape) parts.push_back(dim.to_string());
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

std::string to_string(std::span<const int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

Dim broadcast(const Dim& a, const Dim& b) {
  if (a == b || b == Dim(1)) return a;
  if (a == Dim(1)) return b;
  if (a.is_constant() && b.is_constant()) {
    fail(ErrorCode::invalid_input, "dimensions {} and {} do not broadcast", a.to_string(), b.to_string());
  }
  return a.is_constant() ? a : b.is_constant() ? b : a;
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    const Dim one(1);
    const Dim& da = i < a.size() ? a[a.size() - 1 - i] : one;
    const Dim& db = i < b.size() ? b[b.size() - 1 - i] : one;
    result[result.size() - 1 - i] = broadcast(da, db);
  }
  return result;
}

}  // namespace lathe::tensor
