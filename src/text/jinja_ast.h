// The syntax tree of a chat template.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace lathe::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Expression {
  enum class Kind {
    literal,      // value
    name,         // text
    list,         // children
    tuple,        // children
    dict,         // children: key, value, key, value ...
    attribute,    // children[0] . text
    item,         // children[0] [children[1]]
    slice,        // children[0] [children[1] : children[2] : children[3]], each of the last three may be null
    call,         // children[0] (arguments)
    filter,       // children[0] | text (arguments); children[0] null inside a filter block
    test,         // children[0] is text (arguments)
    unary,        // text: "-", "+", "not"
    binary,       // text: + - * / // % ** ~ == != < <= > >= in "not in" and or
    conditional,  // children[0] if children[1] else children[2], which may be null
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree below, this node included
  std::string text;
  Value value;
  std::vector<ExpressionPtr> children;
  CallArguments arguments;
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    text,          // text
    output,        // expressions[0]
    branch,        // if: expressions[i] guards blocks[i]; one more block is the else
    loop,          // for targets in expressions[0] if expressions[1] (may be null): blocks[0], else blocks[1]
    set,           // targets = expressions[0]
    set_block,     // targets[0] = output of blocks[0], through the filters in expressions[0] (may be null)
    filter_block,  // blocks[0] through expressions[0]
    macro,         // text, parameters: blocks[0]
    call_block,    // expressions[0] is the call; parameters and blocks[0] become its caller()
    scope,         // blocks[0], in a scope of its own: `with` (targets and expressions are its names)
    plain,         // blocks[0], nothing else: `generation`
    break_loop,
    continue_loop,
  };
  Kind kind;
  int line = 0;
  bool uses_loop = false;  // of a loop: its body has the name `loop`
  std::string text;
  std::vector<std::string> targets;  // names; "ns.attribute" for a namespace's
  std::vector<ExpressionPtr> expressions;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // name and default (may be null)
  std::vector<Block> blocks;
};

// Parses a whole template with trim_blocks and lstrip_blocks, as transformers sets them. Throws invalid_input
// with the line; unsupported for statements that chat templates do not use (extends, include, import ...).
Block parse_template(std::string_view source);

}  // namespace lathe::text::jinja
