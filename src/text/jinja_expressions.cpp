#include "text/jinja_expressions.h"

#include <charconv>

namespace lathe::text::jinja {

ExpressionPtr ExpressionParser::node(Kind kind, std::string text) const {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = peek().line;
  expression->text = std::move(text);
  return expression;
}
template <class... Children>
ExpressionPtr ExpressionParser::parent(Kind kind, std::string text, Children... children) const {
  ExpressionPtr expression = node(kind, std::move(text));
  (adopt(*expression, std::move(children)), ...);
  return expression;
}
void ExpressionParser::adopt(Expression& expression, ExpressionPtr child) const {
  deepen(expression, child);
  expression.children.push_back(std::move(child));
}
void ExpressionParser::deepen(Expression& expression, const ExpressionPtr& child) const {
  if (!child) return;
  expression.depth = std::max(expression.depth, child->depth + 1);
  if (expression.depth > kMaxTreeDepth) bad("expression too long");
}
void ExpressionParser::adopt_arguments(Expression& expression, CallArguments arguments) const {
  for (const auto& argument : arguments.positional) deepen(expression, argument);
  for (const auto& argument : arguments.named) deepen(expression, argument.second);
  expression.arguments = std::move(arguments);
}

// One expression, or several with commas between them: a tuple.
ExpressionPtr ExpressionParser::parse_tuple(bool with_condition) {
  const auto one = [&] { return with_condition ? parse_expression() : parse_or(); };
  ExpressionPtr first = one();
  if (!is_symbol(",")) return first;
  ExpressionPtr tuple = parent(Kind::tuple, "", std::move(first));
  while (accept_symbol(",")) {
    if (peek().kind == Token::Kind::output_end || peek().kind == Token::Kind::block_end || is_symbol(")"))
      break;
    adopt(*tuple, one());
  }
  return tuple;
}

ExpressionPtr ExpressionParser::parse_expression() {
  const Deeper deeper(*this);
  ExpressionPtr value = parse_or();
  while (accept_name("if")) {
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise = accept_name("else") ? parse_expression() : nullptr;
    value = parent(Kind::conditional, "", std::move(value), std::move(condition), std::move(otherwise));
  }
  return value;
}

// Operators that associate to the left.
template <class Operand, class Accept>
ExpressionPtr ExpressionParser::parse_left(Operand&& operand, Accept&& accept) {
  ExpressionPtr left = operand();
  while (true) {
    const std::string op = accept();
    if (op.empty()) return left;
    ExpressionPtr right = operand();
    left = parent(Kind::binary, op, std::move(left), std::move(right));
  }
}
std::string ExpressionParser::take_symbol(std::initializer_list<std::string_view> symbols) {
  for (const std::string_view symbol : symbols) {
    if (is_symbol(symbol)) return next().text;
  }
  return {};
}

ExpressionPtr ExpressionParser::parse_or() {
  return parse_left([&] { return parse_and(); }, [&] { return is_name("or") ? next().text : std::string(); });
}
ExpressionPtr ExpressionParser::parse_and() {
  return parse_left([&] { return parse_not(); },
                    [&] { return is_name("and") ? next().text : std::string(); });
}
ExpressionPtr ExpressionParser::parse_not() {
  const Deeper deeper(*this);
  if (accept_name("not")) return parent(Kind::unary, "not", parse_not());
  return parse_comparison();
}

std::string ExpressionParser::take_comparison() {
  if (is_name("in")) return next().text;
  if (is_name("not") && peek(1).kind == Token::Kind::name && peek(1).text == "in") {
    next();
    next();
    return "not in";
  }
  return take_symbol({"==", "!=", "<=", ">=", "<", ">"});
}

// a < b < c is (a < b) and (b < c); operands are pure, so b is parsed twice instead of kept.
ExpressionPtr ExpressionParser::parse_comparison() {
  ExpressionPtr left = parse_sum();
  ExpressionPtr all;
  size_t links = 0;
  while (true) {
    const std::string op = take_comparison();
    if (op.empty()) return all ? std::move(all) : std::move(left);
    if (++links > 16) bad("expression too long");
    const size_t operand = at_;
    ExpressionPtr right = parse_sum();
    if (all) {
      all = parent(Kind::binary, "and", std::move(all),
                   parent(Kind::binary, op, std::move(left), std::move(right)));
    } else {
      all = parent(Kind::binary, op, std::move(left), std::move(right));
    }
    if (take_is_next()) {
      const size_t after = at_;
      at_ = operand;
      left = parse_sum();
      at_ = after;
    }
  }
}
bool ExpressionParser::take_is_next() const {
  if (peek().kind == Token::Kind::name) return peek().text == "in" || peek().text == "not";
  return is_symbol("==") || is_symbol("!=") || is_symbol("<=") || is_symbol(">=") || is_symbol("<") ||
         is_symbol(">");
}

ExpressionPtr ExpressionParser::parse_sum() {
  return parse_left([&] { return parse_concat(); }, [&] { return take_symbol({"+", "-"}); });
}
ExpressionPtr ExpressionParser::parse_concat() {
  return parse_left([&] { return parse_product(); }, [&] { return take_symbol({"~"}); });
}
ExpressionPtr ExpressionParser::parse_product() {
  return parse_left([&] { return parse_power(); }, [&] { return take_symbol({"*", "//", "/", "%"}); });
}
ExpressionPtr ExpressionParser::parse_power() {
  return parse_left([&] { return parse_unary(true); }, [&] { return take_symbol({"**"}); });
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filter) {
  const Deeper deeper(*this);
  ExpressionPtr value;
  const std::string sign = take_symbol({"-", "+"});
  value = sign.empty() ? parse_primary() : parent(Kind::unary, sign, parse_unary(false));
  value = parse_postfix(std::move(value));
  return with_filter ? parse_filters(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token token = peek();
  ExpressionPtr literal = node(Kind::literal);
  switch (token.kind) {
    case Token::Kind::name:
      return parse_name();
    case Token::Kind::string: {
      std::string text;
      while (peek().kind == Token::Kind::string) text += next().text;  // adjacent strings are one
      literal->value = std::move(text);
      return literal;
    }
    case Token::Kind::integer: {
      int64_t integer = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, integer).ec != std::errc()) bad("integer out of range");
      literal->value = integer;
      break;
    }
    case Token::Kind::number: {
      double number = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
      literal->value = number;
      break;
    }
    default:
      return parse_bracket();
  }
  next();
  return literal;
}

ExpressionPtr ExpressionParser::parse_name() {
  ExpressionPtr literal = node(Kind::literal);
  const std::string name = next().text;
  if (name == "true" || name == "True") {
    literal->value = true;
  } else if (name == "false" || name == "False") {
    literal->value = false;
  } else if (name == "none" || name == "None") {
    literal->value = None{};
  } else {
    loop_names_ += name == "loop";
    return node(Kind::name, name);
  }
  return literal;
}

ExpressionPtr ExpressionParser::parse_bracket() {
  if (accept_symbol("(")) {
    if (accept_symbol(")")) return node(Kind::tuple);
    ExpressionPtr value = parse_tuple();
    expect_symbol(")");
    return value;
  }
  if (accept_symbol("[")) {
    ExpressionPtr list = node(Kind::list);
    while (!accept_symbol("]")) {
      adopt(*list, parse_expression());
      if (!is_symbol("]")) expect_symbol(",");
    }
    return list;
  }
  if (accept_symbol("{")) {
    ExpressionPtr dict = node(Kind::dict);
    while (!accept_symbol("}")) {
      adopt(*dict, parse_expression());
      expect_symbol(":");
      adopt(*dict, parse_expression());
      if (!is_symbol("}")) expect_symbol(",");
    }
    return dict;
  }
  bad("expected an expression");
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value) {
  while (true) {
    if (accept_symbol(".")) {
      if (peek().kind == Token::Kind::integer) {
        value = parent(Kind::item, "", std::move(value), parse_primary());
      } else {
        value = parent(Kind::attribute, expect_name(), std::move(value));
      }
    } else if (accept_symbol("[")) {
      value = parse_subscript(std::move(value));
    } else if (is_symbol("(")) {
      value = parent(Kind::call, "", std::move(value));
      adopt_arguments(*value, parse_arguments());
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr value) {
  const auto part = [&]() -> ExpressionPtr {
    return is_symbol(":") || is_symbol("]") ? nullptr : parse_expression();
  };
  ExpressionPtr first = part();
  if (!is_symbol(":")) {
    if (!first) bad("expected an index");
    expect_symbol("]");
    return parent(Kind::item, "", std::move(value), std::move(first));
  }
  next();
  ExpressionPtr stop = part();
  ExpressionPtr step = accept_symbol(":") ? part() : nullptr;
  expect_symbol("]");
  return parent(Kind::slice, "", std::move(value), std::move(first), std::move(stop), std::move(step));
}

CallArguments ExpressionParser::parse_arguments() {
  const Deeper deeper(*this);
  CallArguments arguments;
  expect_symbol("(");
  while (!accept_symbol(")")) {
    if (is_symbol("*") || is_symbol("**")) {
      fail(ErrorCode::unsupported, "chat template, line {}: unpacked arguments", peek().line);
    }
    if (peek().kind == Token::Kind::name && peek(1).kind == Token::Kind::symbol && peek(1).text == "=") {
      std::string name = expect_name();
      next();
      arguments.named.emplace_back(std::move(name), parse_expression());
    } else {
      arguments.positional.push_back(parse_expression());
    }
    if (!is_symbol(")")) expect_symbol(",");
  }
  return arguments;
}

// value | filter(...) is test ...; `inline_first`: a filter block names its first filter without "|".
ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr value, bool inline_first) {
  while (true) {
    if (std::exchange(inline_first, false) || accept_symbol("|")) {
      value = parent(Kind::filter, expect_name(), std::move(value));
      if (is_symbol("(")) adopt_arguments(*value, parse_arguments());
    } else if (value && accept_name("is")) {
      value = parse_test(std::move(value));
    } else if (value && is_symbol("(")) {
      value = parent(Kind::call, "", std::move(value));
      adopt_arguments(*value, parse_arguments());
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr value) {
  const bool negated = accept_name("not");
  ExpressionPtr test = parent(Kind::test, expect_name(), std::move(value));
  const Token& token = peek();
  const bool keyword =
      token.kind == Token::Kind::name &&
      (token.text == "else" || token.text == "or" || token.text == "and" || token.text == "is" ||
       token.text == "if" || token.text == "in" || token.text == "not");
  if (is_symbol("(")) {
    adopt_arguments(*test, parse_arguments());
  } else if (token.kind == Token::Kind::string || token.kind == Token::Kind::integer ||
             token.kind == Token::Kind::number || (token.kind == Token::Kind::name && !keyword) ||
             is_symbol("[") || is_symbol("{")) {
    ExpressionPtr argument = parse_primary();
    CallArguments arguments;
    arguments.positional.push_back(parse_postfix(std::move(argument)));
    adopt_arguments(*test, std::move(arguments));
  }
  return negated ? parent(Kind::unary, "not", std::move(test)) : std::move(test);
}

}  // namespace lathe::text::jinja
