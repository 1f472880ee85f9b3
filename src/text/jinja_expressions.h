// The half of the template parser that reads expressions.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace lathe::text::jinja {

inline constexpr int kMaxDepth = 120;      // of expressions and blocks inside each other, as written
inline constexpr int kMaxTreeDepth = 400;  // of expression trees: evaluation and destruction recurse

// Recursive descent over tokens, one function for each level of binding.
class ExpressionParser {
 protected:
  explicit ExpressionParser(std::string_view source) : tokens_(tokenize_template(source)) {}

  using Kind = Expression::Kind;

  // Counts the depth of recursion for as long as it lives.
  class Deeper {
   public:
    explicit Deeper(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.bad("nested too deeply");
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    ExpressionParser& parser_;
  };

  [[noreturn]] void bad(std::string_view message) const {
    fail(ErrorCode::invalid_input, "chat template, line {}: {}, found \"{}\"", peek().line, message,
         peek().text);
  }

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token next() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is_symbol(std::string_view text) const {
    return peek().kind == Token::Kind::symbol && peek().text == text;
  }
  bool is_name(std::string_view text) const {
    return peek().kind == Token::Kind::name && peek().text == text;
  }
  bool accept_symbol(std::string_view text) {
    if (!is_symbol(text)) return false;
    next();
    return true;
  }
  bool accept_name(std::string_view text) {
    if (!is_name(text)) return false;
    next();
    return true;
  }
  void expect_symbol(std::string_view text) {
    if (!accept_symbol(text)) bad(fmt::format("expected \"{}\"", text));
  }
  std::string expect_name() {
    if (peek().kind != Token::Kind::name) bad("expected a name");
    return next().text;
  }
  void expect_block_end() {
    if (peek().kind != Token::Kind::block_end) bad("expected the end of the tag");
    next();
  }

  // Expressions, loosest binding first.
  ExpressionPtr node(Kind kind, std::string text = {}) const;
  template <class... Children>
  ExpressionPtr parent(Kind kind, std::string text, Children... children) const;
  void adopt(Expression& expression, ExpressionPtr child) const;
  void deepen(Expression& expression, const ExpressionPtr& child) const;
  void adopt_arguments(Expression& expression, CallArguments arguments) const;
  ExpressionPtr parse_tuple(bool with_condition = true);
  ExpressionPtr parse_expression();
  template <class Operand, class Accept>
  ExpressionPtr parse_left(Operand&& operand, Accept&& accept);
  std::string take_symbol(std::initializer_list<std::string_view> symbols);
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  std::string take_comparison();
  ExpressionPtr parse_comparison();
  bool take_is_next() const;
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filter);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_bracket();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr value);
  CallArguments parse_arguments();
  ExpressionPtr parse_filters(ExpressionPtr value, bool inline_first = false);
  ExpressionPtr parse_test(ExpressionPtr value);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loop_names_ = 0;  // how often the name `loop` has been read
};

}  // namespace lathe::text::jinja
