// Arithmetic with Python's rules.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.h"
#include "text/jinja_interpreter.h"

namespace lathe::text::jinja {

Value add(Interpreter& interpreter, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    if (a.string().size() + b.string().size() > interpreter.limits().output_bytes) {
      fail(ErrorCode::resource, "chat template: more than {} bytes of text",
           interpreter.limits().output_bytes);
    }
    interpreter.charge_text(a.string().size() + b.string().size());
    return Value(a.string() + b.string());
  }
  if (a.is_list() && b.is_list() && a.list().tuple == b.list().tuple) {
    interpreter.charge(a.list().items.size() + b.list().items.size());
    List sum = a.list();
    sum.items.insert(sum.items.end(), b.list().items.begin(), b.list().items.end());
    return sum;
  }
  return arithmetic(interpreter, "+", a, b);
}

namespace {

[[noreturn]] void fail_operands(const std::string& op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) {
      fail(ErrorCode::invalid_input, "chat template: \"{}\" is undefined", value->undefined_name());
    }
  }
  fail(ErrorCode::invalid_input, "chat template: {} {} {}: not possible", a.type_name(), op, b.type_name());
}

Value repeat(Interpreter& interpreter, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  const size_t size = value.is_string() ? value.string().size() : value.list().items.size();
  const size_t limit = value.is_string() ? interpreter.limits().output_bytes : size_t{1} << 20;
  if (size > 0 && uint64_t(count) > limit / size) {
    fail(ErrorCode::resource, "chat template: {} repetitions of {} are too many", count, size);
  }
  interpreter.charge(value.is_string() ? size * size_t(count) / 16 : size * size_t(count));
  std::string text;
  List list;
  for (int64_t i = 0; size > 0 && i < count; ++i) {
    if (value.is_string()) {
      text += value.string();
    } else {
      list.items.insert(list.items.end(), value.list().items.begin(), value.list().items.end());
    }
  }
  return value.is_string() ? Value(std::move(text)) : Value(std::move(list));
}

std::optional<int64_t> integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return std::nullopt;
    if (result == 0 || (result == 1 && base == 1)) break;
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  }
  return result;
}

// Both operands are bool or int.
Value integer_arithmetic(const std::string& op, int64_t x, int64_t y) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(x, y, &result);
  if (op == "-") overflow = __builtin_sub_overflow(x, y, &result);
  if (op == "*") overflow = __builtin_mul_overflow(x, y, &result);
  if (op == "//" || op == "%") {
    if (y == 0) fail(ErrorCode::invalid_input, "chat template: division by zero");
    overflow = x == std::numeric_limits<int64_t>::min() && y == -1;
    if (!overflow) {
      // Python rounds towards minus infinity; the remainder has the divisor's sign
      const int64_t quotient = x / y - ((x % y != 0 && (x % y < 0) != (y < 0)) ? 1 : 0);
      result = op == "//" ? quotient : x - quotient * y;
    }
  }
  if (op == "**") {
    const std::optional<int64_t> power = integer_power(x, y);
    overflow = !power;
    result = power.value_or(0);
  }
  if (overflow) fail(ErrorCode::invalid_input, "chat template: {} {} {} is out of range", x, op, y);
  return result;
}

}  // namespace

Value arithmetic(Interpreter& interpreter, const std::string& op, const Value& a, const Value& b) {
  const auto sequence = [](const Value& value) { return value.is_string() || value.is_list(); };
  const auto whole = [](const Value& value) { return value.is_int() || value.is_bool(); };
  if (op == "*" && sequence(a) && whole(b)) return repeat(interpreter, a, b.integer());
  if (op == "*" && whole(a) && sequence(b)) return repeat(interpreter, b, a.integer());
  if (!a.is_number() || !b.is_number()) fail_operands(op, a, b);
  if (whole(a) && whole(b) && op != "/" && !(op == "**" && b.integer() < 0)) {
    return integer_arithmetic(op, a.integer(), b.integer());
  }
  const double x = a.number(), y = b.number();
  if ((op == "/" || op == "//" || op == "%") && y == 0)
    fail(ErrorCode::invalid_input, "chat template: division by zero");
  if (op == "+") return x + y;
  if (op == "-") return x - y;
  if (op == "*") return x * y;
  if (op == "/") return x / y;
  if (op == "//") return std::floor(x / y);
  if (op == "%") return x - y * std::floor(x / y);
  return std::pow(x, y);
}

Value negate(const Value& value) {
  if (value.is_float()) return -value.number();
  return integer_arithmetic("-", 0, value.integer());
}

}  // namespace lathe::text::jinja
