#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/jinja_ast.h"
#include "text/jinja_expressions.h"

namespace lathe::text::jinja {
namespace {

// Reads statements; expressions come from the base.
class Parser : private ExpressionParser {
 public:
  explicit Parser(std::string_view source) : ExpressionParser(source) {}

  Block run() {
    Block block = parse_block({});
    if (peek().kind != Token::Kind::end) bad("unexpected end tag");
    return block;
  }

 private:
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

  int loop_depth_ = 0;
};

}  // namespace

Block parse_template(std::string_view source) {
  return Parser(source).run();
}

}  // namespace lathe::text::jinja
