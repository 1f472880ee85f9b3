#include "text/jinja_interpreter.h"

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::text::jinja {

// Opens a scope and closes it again; macros made meanwhile keep it.
class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter), previous_(interpreter.scope_), macros_(interpreter.macros_made_) {
    interpreter_.scopes_.push_back({parent, {}});
    interpreter_.scope_ = &interpreter_.scopes_.back();
  }
  ~ScopeGuard() {
    interpreter_.scope_ = previous_;
    if (interpreter_.macros_made_ == macros_) interpreter_.scopes_.pop_back();
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  Scope* previous_;
  uint64_t macros_;
};

class Interpreter::DepthGuard {
 public:
  explicit DepthGuard(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter_.depth_ > interpreter_.limits_.depth) {
      --interpreter_.depth_;
      fail(ErrorCode::resource, "chat template: nested too deeply");
    }
  }
  ~DepthGuard() { --interpreter_.depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Interpreter& interpreter_;
};

Interpreter::Interpreter(const Limits& limits, Dict globals)
    : limits_(limits), globals_(std::move(globals)) {}

Interpreter::~Interpreter() {
  for (Value& value : namespaces_) value.mutable_dict().items.clear();
}

std::string Interpreter::render(const Block& block) {
  std::string out;
  const ScopeGuard guard(*this, nullptr);
  run(block, out);
  return out;
}

void Interpreter::charge(uint64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps) fail(ErrorCode::resource, "chat template: more than {} steps", limits_.steps);
}

void Interpreter::charge_call(const Value& input, const Arguments& arguments) {
  const auto one = [&](const Value& value) {
    charge(1);
    if (value.is_string()) charge_text(value.string().size());
  };
  one(input);
  for (const Value& value : arguments.positional) one(value);
  for (const auto& [name, value] : arguments.named) one(value);
}

std::string Interpreter::text_of(const Value& value) {
  std::string text = to_text(value, limits_.output_bytes);
  charge_text(text.size());
  return text;
}

void Interpreter::append(std::string& out, std::string_view text) {
  if (out.size() + text.size() > limits_.output_bytes) {
    fail(ErrorCode::resource, "chat template: more than {} bytes of text", limits_.output_bytes);
  }
  charge_text(text.size());
  out += text;
}

Value Interpreter::make_namespace(Dict dict) {
  dict.is_namespace = true;
  namespaces_.emplace_back(std::move(dict));
  return namespaces_.back();
}

Interpreter::Flow Interpreter::run(const Block& block, std::string& out) {
  for (const auto& statement : block) {
    const Flow flow = run(*statement, out);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Statement& statement, std::string& out) {
  const DepthGuard deeper(*this);
  charge(1);
  switch (statement.kind) {
    case Statement::Kind::text:
      append(out, statement.text);
      return Flow::normal;
    case Statement::Kind::output:
      append(out, text_of(evaluate(*statement.expressions[0])));
      return Flow::normal;
    case Statement::Kind::branch:
      for (size_t i = 0; i < statement.expressions.size(); ++i) {
        if (truthy(evaluate(*statement.expressions[i]))) return run(statement.blocks[i], out);
      }
      if (statement.blocks.size() > statement.expressions.size()) return run(statement.blocks.back(), out);
      return Flow::normal;
    case Statement::Kind::loop:
      return run_loop(statement, out);
    case Statement::Kind::set:
      assign(statement, evaluate(*statement.expressions[0]));
      return Flow::normal;
    case Statement::Kind::set_block: {
      Value value(run_captured(statement.blocks[0]));
      if (statement.expressions[0]) value = evaluate_filter(*statement.expressions[0], std::move(value));
      assign(statement, std::move(value));
      return Flow::normal;
    }
    case Statement::Kind::filter_block:
      append(out,
             text_of(evaluate_filter(*statement.expressions[0], Value(run_captured(statement.blocks[0])))));
      return Flow::normal;
    case Statement::Kind::macro:
      scope_->names.emplace_back(statement.text, make_macro(statement, statement.text));
      return Flow::normal;
    case Statement::Kind::call_block: {
      const Expression& target = *statement.expressions[0];
      Arguments arguments = evaluate_arguments(target.arguments);
      arguments.named.emplace_back("caller", make_macro(statement, "caller"));
      append(out, text_of(call(evaluate(*target.children[0]), std::move(arguments))));
      return Flow::normal;
    }
    case Statement::Kind::scope: {
      std::vector<Value> values;
      for (const auto& expression : statement.expressions) values.push_back(evaluate(*expression));
      const ScopeGuard guard(*this, scope_);
      for (size_t i = 0; i < values.size(); ++i) scope_->names.emplace_back(statement.targets[i], values[i]);
      return run(statement.blocks[0], out);
    }
    case Statement::Kind::plain:
      return run(statement.blocks[0], out);
    case Statement::Kind::break_loop:
      return Flow::break_loop;
    case Statement::Kind::continue_loop:
      return Flow::continue_loop;
  }
  LATHE_CHECK(false, "statement kind {}", int(statement.kind));
  return Flow::normal;
}

namespace {

// `loop` inside a for.
Value loop_object(const std::vector<Value>& items, size_t index, int64_t depth) {
  Dict loop;
  const auto put = [&](const char* name, Value value) {
    loop.items.emplace_back(Value(name), std::move(value));
  };
  const int64_t count = int64_t(items.size()), at = int64_t(index);
  put("index", at + 1);
  put("index0", at);
  put("revindex", count - at);
  put("revindex0", count - at - 1);
  put("first", at == 0);
  put("last", at + 1 == count);
  put("length", count);
  put("depth", depth);
  put("depth0", depth - 1);
  if (index > 0) put("previtem", items[index - 1]);
  if (index + 1 < items.size()) put("nextitem", items[index + 1]);
  put("cycle", Function{"cycle", [at](Interpreter&, Arguments& arguments) -> Value {
                          if (arguments.positional.empty()) {
                            fail(ErrorCode::invalid_input, "chat template: cycle without items");
                          }
                          return arguments.positional[size_t(at) % arguments.positional.size()];
                        }});
  return loop;
}

// Values for `count` names.
std::vector<Value> unpack(Interpreter& interpreter, const Value& value, size_t count) {
  if (count == 1) return {value};
  std::vector<Value> parts = iterate(interpreter, value);
  if (parts.size() != count) {
    fail(ErrorCode::invalid_input, "chat template: expected {} values to unpack, found {}", count,
         parts.size());
  }
  return parts;
}

}  // namespace

Interpreter::Flow Interpreter::run_loop(const Statement& statement, std::string& out) {
  std::vector<Value> items = iterate(*this, evaluate(*statement.expressions[0]));
  const size_t names = statement.targets.size();
  if (statement.expressions[1]) {
    std::vector<Value> kept;
    for (const Value& item : items) {
      const ScopeGuard guard(*this, scope_);
      const std::vector<Value> parts = unpack(*this, item, names);
      for (size_t i = 0; i < names; ++i) scope_->names.emplace_back(statement.targets[i], parts[i]);
      if (truthy(evaluate(*statement.expressions[1]))) kept.push_back(item);
    }
    items = std::move(kept);
  }
  if (items.empty() && statement.blocks.size() > 1) return run(statement.blocks[1], out);
  for (size_t index = 0; index < items.size(); ++index) {
    charge(4);
    const ScopeGuard guard(*this, scope_);
    const std::vector<Value> parts = unpack(*this, items[index], names);
    for (size_t i = 0; i < names; ++i) scope_->names.emplace_back(statement.targets[i], parts[i]);
    if (statement.uses_loop) {
      charge(12);
      scope_->names.emplace_back("loop", loop_object(items, index, 1));
    }
    if (run(statement.blocks[0], out) == Flow::break_loop) break;
  }
  return Flow::normal;
}

void Interpreter::assign(const Statement& statement, Value value) {
  const std::vector<Value> parts = unpack(*this, value, statement.targets.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string& target = statement.targets[i];
    const size_t dot = target.find('.');
    if (dot == std::string::npos) {
      auto& names = scope_->names;
      const auto known = std::find_if(names.rbegin(), names.rend(),
                                      [&](const auto& entry) { return entry.first == target; });
      if (known != names.rend()) {
        known->second = parts[i];
      } else {
        names.emplace_back(target, parts[i]);
      }
      continue;
    }
    Value object = lookup(target.substr(0, dot));
    if (!object.is_dict() || !object.dict().is_namespace) {
      fail(ErrorCode::invalid_input, "chat template, line {}: \"{}\" is not a namespace", statement.line,
           target.substr(0, dot));
    }
    object.mutable_dict().set(target.substr(dot + 1), parts[i]);
  }
}

std::string Interpreter::run_captured(const Block& block) {
  std::string text;
  const ScopeGuard guard(*this, scope_);
  run(block, text);
  return text;
}

Value Interpreter::make_macro(const Statement& statement, std::string name) {
  ++macros_made_;
  Scope* home = scope_;
  return Function{std::move(name), [&statement, home](Interpreter& interpreter, Arguments& arguments) {
                    return interpreter.call_macro(statement, home, arguments);
                  }};
}

Value Interpreter::call_macro(const Statement& statement, Scope* home, Arguments& arguments) {
  const DepthGuard deeper(*this);
  const ScopeGuard guard(*this, home);
  charge(statement.parameters.size() * (1 + arguments.named.size()) / 8);
  if (arguments.positional.size() > statement.parameters.size()) {
    fail(ErrorCode::invalid_input, "chat template: macro \"{}\" takes {} arguments, found {}", statement.text,
         statement.parameters.size(), arguments.positional.size());
  }
  for (auto& [name, value] : arguments.named) {
    bool known = name == "caller";
    for (const auto& parameter : statement.parameters) known = known || parameter.first == name;
    if (!known)
      fail(ErrorCode::invalid_input, "chat template: macro \"{}\" has no argument \"{}\"", statement.text,
           name);
    scope_->names.emplace_back(name, value);
  }
  for (size_t i = 0; i < statement.parameters.size(); ++i) {
    const auto& [name, fallback] = statement.parameters[i];
    if (i < arguments.positional.size()) {
      scope_->names.emplace_back(name, arguments.positional[i]);
      continue;
    }
    bool given = false;
    for (const auto& named : arguments.named) given = given || named.first == name;
    if (!given) scope_->names.emplace_back(name, fallback ? evaluate(*fallback) : Value(Undefined{name}));
  }
  std::string text;
  run(statement.blocks[0], text);
  return Value(std::move(text));
}

Value Interpreter::lookup(const std::string& name) {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    charge(scope->names.size() / 8);
    for (auto entry = scope->names.rbegin(); entry != scope->names.rend(); ++entry) {
      if (entry->first == name) return entry->second;
    }
  }
  const Value* global = globals_.find(std::string_view(name));
  return global ? *global : Value(Undefined{name});
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Arguments values;
  for (const auto& argument : arguments.positional) values.positional.push_back(evaluate(*argument));
  for (const auto& [name, argument] : arguments.named) values.named.emplace_back(name, evaluate(*argument));
  return values;
}

Value Interpreter::call(const Value& function, Arguments arguments) {
  if (function.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: \"{}\" is undefined", function.undefined_name());
  }
  if (!function.is_function()) {
    fail(ErrorCode::invalid_input, "chat template: a value of type {} is called", function.type_name());
  }
  charge(1);
  return function.function().call(*this, arguments);
}

Value Interpreter::attribute(const Value& value, const std::string& name) {
  if (value.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: \"{}\" is undefined, it has no \"{}\"",
         value.undefined_name(), name);
  }
  if (!value.is_dict() || !value.dict().is_namespace) {
    Value method = find_method(value, name);
    if (!method.is_undefined()) return method;
  }
  if (value.is_dict()) charge(value.dict().items.size() / 8);
  const Value* member = value.is_dict() ? value.dict().find(std::string_view(name)) : nullptr;
  return member ? *member : Value(Undefined{name});
}

Value Interpreter::item(const Value& value, const Value& key) {
  if (value.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: \"{}\" is undefined, it has no items",
         value.undefined_name());
  }
  if (value.is_dict()) {
    const Value* member = value.dict().find(*this, key);
    if (member) return *member;
  } else if ((value.is_list() || value.is_string()) && (key.is_int() || key.is_bool())) {
    if (value.is_string()) charge_text(value.string().size());
    const int64_t at = key.integer();
    const int64_t size =
        int64_t(value.is_list() ? value.list().items.size() : character_count(value.string()));
    const int64_t place = at < 0 ? at + size : at;
    if (at < -size || place >= size) return Undefined{std::to_string(at)};
    if (value.is_list()) return value.list().items[size_t(place)];
    return slice(value, place, place + 1, None{});
  }
  return key.is_string() ? find_method(value, key.string()) : Value(Undefined{text_of(key)});
}

Value Interpreter::evaluate_filter(const Expression& expression, Value input) {
  // a chain of filters whose innermost input is given, in filter and set blocks
  if (expression.kind == Expression::Kind::filter && expression.children[0]) {
    input = evaluate_filter(*expression.children[0], std::move(input));
  }
  Arguments arguments = evaluate_arguments(expression.arguments);
  charge(1);
  return apply_filter(*this, expression.text, input, arguments);
}

Value Interpreter::evaluate(const Expression& expression) {
  const DepthGuard deeper(*this);
  charge(1);
  const auto child = [&](size_t i) { return evaluate(*expression.children[i]); };
  const auto optional_child = [&](size_t i) { return expression.children[i] ? child(i) : Value(None{}); };
  switch (expression.kind) {
    case Expression::Kind::literal:
      return expression.value;
    case Expression::Kind::name:
      return lookup(expression.text);
    case Expression::Kind::list:
    case Expression::Kind::tuple: {
      List list;
      list.tuple = expression.kind == Expression::Kind::tuple;
      for (size_t i = 0; i < expression.children.size(); ++i) list.items.push_back(child(i));
      return list;
    }
    case Expression::Kind::dict: {
      Dict dict;
      for (size_t i = 0; i + 1 < expression.children.size(); i += 2) {
        Value key = child(i);
        dict.set(*this, std::move(key), child(i + 1));
      }
      return dict;
    }
    case Expression::Kind::attribute:
      return attribute(child(0), expression.text);
    case Expression::Kind::item:
      return item(child(0), child(1));
    case Expression::Kind::slice: {
      const Value value = child(0);
      charge(value.is_list() ? value.list().items.size() : value.is_string() ? value.string().size() / 4 : 1);
      return slice(value, optional_child(1), optional_child(2), optional_child(3));
    }
    case Expression::Kind::call: {
      const Value function = child(0);
      return call(function, evaluate_arguments(expression.arguments));
    }
    case Expression::Kind::filter: {
      const Value input = child(0);
      Arguments arguments = evaluate_arguments(expression.arguments);
      return apply_filter(*this, expression.text, input, arguments);
    }
    case Expression::Kind::test: {
      const Value input = child(0);
      Arguments arguments = evaluate_arguments(expression.arguments);
      return apply_test(*this, expression.text, input, arguments);
    }
    case Expression::Kind::unary: {
      if (expression.text == "not") return !truthy(child(0));
      const Value value = child(0);
      if (!value.is_number()) {
        fail(ErrorCode::invalid_input, "chat template: sign before a value of type {}", value.type_name());
      }
      return expression.text == "-" ? negate(value) : value.is_bool() ? Value(value.integer()) : value;
    }
    case Expression::Kind::binary:
      return evaluate_binary(expression);
    case Expression::Kind::conditional:
      if (truthy(child(1))) return child(0);
      return expression.children[2] ? child(2) : Value(Undefined{"the inline if without else"});
  }
  LATHE_CHECK(false, "expression kind {}", int(expression.kind));
  return {};
}

Value Interpreter::evaluate_binary(const Expression& expression) {
  const std::string& op = expression.text;
  Value left = evaluate(*expression.children[0]);
  if (op == "and") return truthy(left) ? evaluate(*expression.children[1]) : left;
  if (op == "or") return truthy(left) ? left : evaluate(*expression.children[1]);
  const Value right = evaluate(*expression.children[1]);
  if (op == "==" || op == "!=") return equal(*this, left, right) == (op == "==");
  if (op == "in" || op == "not in") return contains(*this, right, left) == (op == "in");
  if (op == "<") return compare(*this, left, right) < 0;
  if (op == "<=") return compare(*this, left, right) <= 0;
  if (op == ">") return compare(*this, left, right) > 0;
  if (op == ">=") return compare(*this, left, right) >= 0;
  if (op == "~") {
    std::string text = text_of(left);
    append(text, text_of(right));
    return Value(std::move(text));
  }
  return op == "+" ? add(*this, left, right) : arithmetic(*this, op, left, right);
}

std::vector<Value> iterate(Interpreter& interpreter, const Value& value) {
  std::vector<Value> items;
  if (value.is_list()) {
    items = value.list().items;
  } else if (value.is_dict() && !value.dict().is_namespace) {
    for (const auto& item : value.dict().items) items.push_back(item.first);
  } else if (value.is_string()) {
    const std::string_view text = value.string();
    interpreter.charge(text.size());
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      take_code_point(text, at);
      items.emplace_back(text.substr(begin, at - begin));
    }
  } else if (!value.is_undefined()) {
    fail(ErrorCode::invalid_input, "chat template: a value of type {} has no items", value.type_name());
  }
  interpreter.charge(items.size());
  return items;
}

}  // namespace lathe::text::jinja
