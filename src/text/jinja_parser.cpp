#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace lathe::text::jinja {
namespace {

constexpr int kMaxDepth = 120;      // of expressions and blocks inside each other, as written
constexpr int kMaxTreeDepth = 400;  // of expression trees: evaluation and destruction recurse

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize_template(source)) {}

  Block run() {
    Block block = parse_block({});
    if (peek().kind != Token::Kind::end) bad("unexpected end tag");
    return block;
  }

 private:
  using Kind = Expression::Kind;

  // Counts the depth of recursion for as long as it lives.
  class Deeper {
   public:
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.bad("nested too deeply");
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Parser& parser_;
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

  // --- statements ---

  // Statements up to {% one of ends; the tag's name is left to be read.
  Block parse_block(std::initializer_list<std::string_view> ends) {
    const Deeper deeper(*this);
    Block block;
    while (peek().kind != Token::Kind::end) {
      if (peek().kind == Token::Kind::text) {
        auto statement = make(Statement::Kind::text);
        statement->text = next().text;
        block.push_back(std::move(statement));
      } else if (peek().kind == Token::Kind::output_begin) {
        auto statement = make(Statement::Kind::output);
        next();
        statement->expressions.push_back(parse_tuple());
        if (peek().kind != Token::Kind::output_end) bad("expected \"}}\"");
        next();
        block.push_back(std::move(statement));
      } else if (peek().kind == Token::Kind::block_begin) {
        next();
        if (peek().kind != Token::Kind::name) bad("expected a statement");
        if (std::find(ends.begin(), ends.end(), peek().text) != ends.end()) return block;
        block.push_back(parse_statement());
      } else {
        bad("expected text or a tag");
      }
    }
    if (ends.size() > 0) bad(fmt::format("expected {}", *(ends.end() - 1)));
    return block;
  }

  std::unique_ptr<Statement> make(Statement::Kind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = peek().line;
    return statement;
  }

  std::unique_ptr<Statement> parse_statement() {
    const std::string name = next().text;
    if (name == "if") return parse_if();
    if (name == "for") return parse_for();
    if (name == "set") return parse_set();
    if (name == "macro") return parse_macro();
    if (name == "call") return parse_call_block();
    if (name == "filter") return parse_filter_block();
    if (name == "with") return parse_with();
    if (name == "generation") return parse_plain("endgeneration");
    if (name == "break" || name == "continue") {
      auto statement = make(name == "break" ? Statement::Kind::break_loop : Statement::Kind::continue_loop);
      if (loop_depth_ == 0) bad(fmt::format("\"{}\" outside a loop", name));
      expect_block_end();
      return statement;
    }
    for (const std::string_view known :
         {"extends", "include", "import", "from", "block", "autoescape", "do", "trans"}) {
      if (name == known)
        fail(ErrorCode::unsupported, "chat template, line {}: statement \"{}\"", peek().line, name);
    }
    fail(ErrorCode::invalid_input, "chat template, line {}: unknown statement \"{}\"", peek().line, name);
  }

  std::unique_ptr<Statement> parse_if() {
    auto statement = make(Statement::Kind::branch);
    while (true) {
      statement->expressions.push_back(parse_tuple(false));
      expect_block_end();
      statement->blocks.push_back(parse_block({"elif", "else", "endif"}));
      const std::string tag = next().text;
      if (tag == "elif") continue;
      expect_block_end();
      if (tag == "else") {
        statement->blocks.push_back(parse_block({"endif"}));
        next();
        expect_block_end();
      }
      return statement;
    }
  }

  std::vector<std::string> parse_targets() {
    std::vector<std::string> targets;
    const bool bracket = accept_symbol("(");
    do {
      if (is_symbol(")") || is_name("in")) break;  // a trailing comma
      targets.push_back(expect_name());
    } while (accept_symbol(","));
    if (bracket) expect_symbol(")");
    return targets;
  }

  std::unique_ptr<Statement> parse_for() {
    auto statement = make(Statement::Kind::loop);
    statement->targets = parse_targets();
    if (!accept_name("in")) bad("expected \"in\"");
    statement->expressions.push_back(parse_tuple(false));
    statement->expressions.push_back(accept_name("if") ? parse_expression() : nullptr);
    if (is_name("recursive"))
      fail(ErrorCode::unsupported, "chat template, line {}: recursive loop", peek().line);
    expect_block_end();
    ++loop_depth_;
    const int names_before = loop_names_;
    statement->blocks.push_back(parse_block({"else", "endfor"}));
    statement->uses_loop = loop_names_ != names_before;
    --loop_depth_;
    const bool has_else = next().text == "else";
    expect_block_end();
    if (has_else) {
      statement->blocks.push_back(parse_block({"endfor"}));
      next();
      expect_block_end();
    }
    return statement;
  }

  std::unique_ptr<Statement> parse_set() {
    auto statement = make(Statement::Kind::set);
    if (peek().kind == Token::Kind::name && peek(1).text == "." && peek(1).kind == Token::Kind::symbol) {
      std::string target = expect_name();
      next();
      statement->targets.push_back(target + "." + expect_name());
    } else {
      statement->targets = parse_targets();
    }
    if (accept_symbol("=")) {
      statement->expressions.push_back(parse_tuple());
      expect_block_end();
      return statement;
    }
    statement->kind = Statement::Kind::set_block;
    statement->expressions.push_back(is_symbol("|") ? parse_filters(nullptr) : nullptr);
    expect_block_end();
    statement->blocks.push_back(parse_block({"endset"}));
    next();
    expect_block_end();
    return statement;
  }

  void parse_parameters(Statement& statement) {
    expect_symbol("(");
    while (!accept_symbol(")")) {
      std::string name = expect_name();
      ExpressionPtr fallback = accept_symbol("=") ? parse_expression() : nullptr;
      statement.parameters.emplace_back(std::move(name), std::move(fallback));
      if (!is_symbol(")")) expect_symbol(",");
    }
  }

  // The body of a macro or a call: a loop outside of it cannot be left from inside.
  void parse_body(Statement& statement, std::string_view end) {
    expect_block_end();
    const int loops = std::exchange(loop_depth_, 0);
    statement.blocks.push_back(parse_block({end}));
    loop_depth_ = loops;
    next();
    if (peek().kind == Token::Kind::name) next();  // the name may be repeated
    expect_block_end();
  }

  std::unique_ptr<Statement> parse_macro() {
    auto statement = make(Statement::Kind::macro);
    statement->text = expect_name();
    parse_parameters(*statement);
    parse_body(*statement, "endmacro");
    return statement;
  }

  std::unique_ptr<Statement> parse_call_block() {
    auto statement = make(Statement::Kind::call_block);
    if (is_symbol("(")) parse_parameters(*statement);
    statement->expressions.push_back(parse_expression());
    if (statement->expressions[0]->kind != Kind::call) bad("expected a call");
    parse_body(*statement, "endcall");
    return statement;
  }

  std::unique_ptr<Statement> parse_filter_block() {
    auto statement = make(Statement::Kind::filter_block);
    statement->expressions.push_back(parse_filters(nullptr, true));
    expect_block_end();
    statement->blocks.push_back(parse_block({"endfilter"}));
    next();
    expect_block_end();
    return statement;
  }

  std::unique_ptr<Statement> parse_with() {
    auto statement = make(Statement::Kind::scope);
    while (peek().kind == Token::Kind::name) {
      statement->targets.push_back(expect_name());
      expect_symbol("=");
      statement->expressions.push_back(parse_expression());
      if (!accept_symbol(",")) break;
    }
    expect_block_end();
    statement->blocks.push_back(parse_block({"endwith"}));
    next();
    expect_block_end();
    return statement;
  }

  std::unique_ptr<Statement> parse_plain(std::string_view end) {
    auto statement = make(Statement::Kind::plain);
    expect_block_end();
    statement->blocks.push_back(parse_block({end}));
    next();
    expect_block_end();
    return statement;
  }

  // --- expressions, loosest binding first ---

  ExpressionPtr node(Kind kind, std::string text = {}) const {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = peek().line;
    expression->text = std::move(text);
    return expression;
  }
  template <class... Children>
  ExpressionPtr parent(Kind kind, std::string text, Children... children) const {
    ExpressionPtr expression = node(kind, std::move(text));
    (adopt(*expression, std::move(children)), ...);
    return expression;
  }
  void adopt(Expression& expression, ExpressionPtr child) const {
    deepen(expression, child);
    expression.children.push_back(std::move(child));
  }
  void deepen(Expression& expression, const ExpressionPtr& child) const {
    if (!child) return;
    expression.depth = std::max(expression.depth, child->depth + 1);
    if (expression.depth > kMaxTreeDepth) bad("expression too long");
  }
  void adopt_arguments(Expression& expression, CallArguments arguments) const {
    for (const auto& argument : arguments.positional) deepen(expression, argument);
    for (const auto& argument : arguments.named) deepen(expression, argument.second);
    expression.arguments = std::move(arguments);
  }

  // One expression, or several with commas between them: a tuple.
  ExpressionPtr parse_tuple(bool with_condition = true) {
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

  ExpressionPtr parse_expression() {
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
  ExpressionPtr parse_left(Operand&& operand, Accept&& accept) {
    ExpressionPtr left = operand();
    while (true) {
      const std::string op = accept();
      if (op.empty()) return left;
      ExpressionPtr right = operand();
      left = parent(Kind::binary, op, std::move(left), std::move(right));
    }
  }
  std::string take_symbol(std::initializer_list<std::string_view> symbols) {
    for (const std::string_view symbol : symbols) {
      if (is_symbol(symbol)) return next().text;
    }
    return {};
  }

  ExpressionPtr parse_or() {
    return parse_left([&] { return parse_and(); },
                      [&] { return is_name("or") ? next().text : std::string(); });
  }
  ExpressionPtr parse_and() {
    return parse_left([&] { return parse_not(); },
                      [&] { return is_name("and") ? next().text : std::string(); });
  }
  ExpressionPtr parse_not() {
    const Deeper deeper(*this);
    if (accept_name("not")) return parent(Kind::unary, "not", parse_not());
    return parse_comparison();
  }

  std::string take_comparison() {
    if (is_name("in")) return next().text;
    if (is_name("not") && peek(1).kind == Token::Kind::name && peek(1).text == "in") {
      next();
      next();
      return "not in";
    }
    return take_symbol({"==", "!=", "<=", ">=", "<", ">"});
  }

  // a < b < c is (a < b) and (b < c); operands are pure, so b is parsed twice instead of kept.
  ExpressionPtr parse_comparison() {
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
  bool take_is_next() const {
    if (peek().kind == Token::Kind::name) return peek().text == "in" || peek().text == "not";
    return is_symbol("==") || is_symbol("!=") || is_symbol("<=") || is_symbol(">=") || is_symbol("<") ||
           is_symbol(">");
  }

  ExpressionPtr parse_sum() {
    return parse_left([&] { return parse_concat(); }, [&] { return take_symbol({"+", "-"}); });
  }
  ExpressionPtr parse_concat() {
    return parse_left([&] { return parse_product(); }, [&] { return take_symbol({"~"}); });
  }
  ExpressionPtr parse_product() {
    return parse_left([&] { return parse_power(); }, [&] { return take_symbol({"*", "//", "/", "%"}); });
  }
  ExpressionPtr parse_power() {
    return parse_left([&] { return parse_unary(true); }, [&] { return take_symbol({"**"}); });
  }

  ExpressionPtr parse_unary(bool with_filter) {
    const Deeper deeper(*this);
    ExpressionPtr value;
    const std::string sign = take_symbol({"-", "+"});
    value = sign.empty() ? parse_primary() : parent(Kind::unary, sign, parse_unary(false));
    value = parse_postfix(std::move(value));
    return with_filter ? parse_filters(std::move(value)) : std::move(value);
  }

  ExpressionPtr parse_primary() {
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

  ExpressionPtr parse_name() {
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

  ExpressionPtr parse_bracket() {
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

  ExpressionPtr parse_postfix(ExpressionPtr value) {
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

  ExpressionPtr parse_subscript(ExpressionPtr value) {
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

  CallArguments parse_arguments() {
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
  ExpressionPtr parse_filters(ExpressionPtr value, bool inline_first = false) {
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

  ExpressionPtr parse_test(ExpressionPtr value) {
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

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loop_depth_ = 0;
  int loop_names_ = 0;  // how often the name `loop` has been read
};

}  // namespace

Block parse_template(std::string_view source) {
  return Parser(source).run();
}

}  // namespace lathe::text::jinja
