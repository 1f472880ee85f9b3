// Runs the syntax tree of a chat template.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"

namespace lathe::text::jinja {

struct Limits {
  size_t output_bytes = size_t{64} << 20;  // of the result, and of any string on the way
  uint64_t steps = 20'000'000;             // nodes evaluated, plus items and bytes copied
  int depth = 1200;                        // of calls, blocks and expressions inside each other
  int64_t range_items = 100'000;           // as Jinja's sandbox
};

// One rendering. Throws invalid_input for what the template does wrong, resource for a limit.
class Interpreter {
 public:
  Interpreter(const Limits& limits, Dict globals);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string render(const Block& block);

  // For the built-in functions, filters and tests:
  void charge(uint64_t steps);
  void charge_text(size_t bytes) { charge(bytes / 16); }
  void charge_call(const Value& input, const Arguments& arguments);  // the texts it is about to look at
  const Limits& limits() const { return limits_; }
  std::string text_of(const Value& value);
  Value call(const Value& function, Arguments arguments);
  Value make_namespace(Dict dict);  // emptied when the rendering ends, so that cycles are freed

 private:
  struct Scope {
    Scope* parent = nullptr;
    std::vector<std::pair<std::string, Value>> names;
  };
  enum class Flow { normal, break_loop, continue_loop };
  class ScopeGuard;
  class DepthGuard;

  Flow run(const Block& block, std::string& out);
  Flow run(const Statement& statement, std::string& out);
  Flow run_loop(const Statement& statement, std::string& out);
  void assign(const Statement& statement, Value value);
  std::string run_captured(const Block& block);
  Value make_macro(const Statement& statement, std::string name);
  Value call_macro(const Statement& statement, Scope* home, Arguments& arguments);
  void append(std::string& out, std::string_view text);

  Value evaluate(const Expression& expression);
  Value evaluate_filter(const Expression& expression, Value input);
  Value evaluate_binary(const Expression& expression);
  Arguments evaluate_arguments(const CallArguments& arguments);
  Value attribute(const Value& value, const std::string& name);
  Value item(const Value& value, const Value& key);
  Value lookup(const std::string& name);

  Limits limits_;
  Dict globals_;
  std::deque<Scope> scopes_;  // the innermost last
  Scope* scope_ = nullptr;
  uint64_t macros_made_ = 0;  // a macro keeps the scopes around it alive
  std::vector<Value> namespaces_;
  uint64_t steps_ = 0;
  int depth_ = 0;
};

// Arithmetic with Python's rules for types, division and signs.
Value add(Interpreter& interpreter, const Value& a, const Value& b);
Value arithmetic(Interpreter& interpreter, const std::string& op, const Value& a, const Value& b);
Value negate(const Value& value);

// Built-ins. Unknown names are invalid_input (filters, tests) or undefined (methods).
Value apply_filter(Interpreter& interpreter, const std::string& name, const Value& input,
                   Arguments& arguments);
bool apply_test(Interpreter& interpreter, const std::string& name, const Value& input, Arguments& arguments);
// A method of a string, list or dict, bound to it; undefined if there is none of that name.
Value find_method(const Value& object, const std::string& name);
// str.replace(old, new, count), with the limits of a rendering.
Value replaced_text(Interpreter& interpreter, const std::string& text, Arguments& arguments);
// [(key, value), ...]
Value dict_items(Interpreter& interpreter, const Value& dict);
Dict builtin_functions();

// The items that a loop over the value sees: characters, elements, keys.
std::vector<Value> iterate(Interpreter& interpreter, const Value& value);

}  // namespace lathe::text::jinja
