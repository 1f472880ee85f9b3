// Values of the template language, with Python's semantics of truth, equality, order and printing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace lathe::text::jinja {

class Value;
class Interpreter;

struct Undefined {
  std::string name;  // what was looked for, for messages
};
struct None {};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;  // of lists and dicts inside each other, this one included; set by Value
};

// A dict in order of insertion. Namespaces are mutable dicts that are not one.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  bool is_namespace = false;
  int depth = 1;  // as List::depth; namespaces do not count

  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
  // Keys of any kind: comparing them costs the interpreter's steps.
  const Value* find(Interpreter& interpreter, const Value& key) const;
  void set(Interpreter& interpreter, Value key, Value value);
};

// Arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Interpreter&, Arguments&)> call;
};

// Strings, lists, dicts and functions are shared between copies. Only namespaces ever change once made.
class Value {
 public:
  Value() : data_(Undefined{}) {}
  Value(None none) : data_(none) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(bool boolean) : data_(boolean) {}
  Value(int64_t integer) : data_(integer) {}
  Value(double number) : data_(number) {}
  Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  // Throw resource when the nesting is too deep (destructors recurse).
  Value(List list);
  Value(Dict dict);
  Value(Function function) : data_(std::make_shared<const Function>(std::move(function))) {}
  static Value from_json(const Json& json);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return std::holds_alternative<std::shared_ptr<const std::string>>(data_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const List>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<Dict>>(data_); }
  bool is_function() const { return std::holds_alternative<std::shared_ptr<const Function>>(data_); }

  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const {
    return is_bool() ? int64_t(boolean()) : std::get<int64_t>(data_);
  }  // bool or int
  double number() const { return is_float() ? std::get<double>(data_) : double(integer()); }
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<Dict>>(data_); }
  Dict& mutable_dict() { return *std::get<std::shared_ptr<Dict>>(data_); }  // of a namespace only
  const Function& function() const { return *std::get<std::shared_ptr<const Function>>(data_); }
  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }

  // "str", "int", "dict", ... as Python names the type.
  std::string_view type_name() const;

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<Dict>, std::shared_ptr<const Function>>
      data_;
};

bool truthy(const Value& value);
// Comparisons charge the interpreter for every element and text they look at: a list of lists that share
// their parts has exponentially many elements. What is the same object is equal without looking.
bool equal(Interpreter& interpreter, const Value& a, const Value& b);
// -1, 0, 1. Throws invalid_input for types that have no order.
int compare(Interpreter& interpreter, const Value& a, const Value& b);
// item in container.
bool contains(Interpreter& interpreter, const Value& container, const Value& item);

// str() and repr() of Python. Results longer than `limit` bytes throw resource.
std::string to_text(const Value& value, size_t limit);
std::string to_repr(const Value& value, size_t limit);
std::string float_repr(double number);

// json.dumps(value, ensure_ascii=False), as transformers' tojson filter. Indent below 0: one line.
std::string to_json_text(const Value& value, int64_t indent, bool sort_keys, size_t limit);

// Characters of a string, and part of it by character positions.
size_t character_count(std::string_view text);
Value slice(const Value& value, const Value& start, const Value& stop, const Value& step);

}  // namespace lathe::text::jinja
