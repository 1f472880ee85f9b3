// A plan: what the compiler leaves and the runtime executes. Instructions over buffers, constants and states,
// with everything a session needs to know before the first step.
//
// One step runs on packed tokens: `tokens` rows from any mix of sequences. Row counts are data, never shapes;
// each buffer has so many columns and one of four row counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contract/contract.h"
#include "op/attributes.h"
#include "tensor/dtype.h"
#include "tensor/encoding.h"
#include "tensor/shape.h"

namespace lathe::plan {

// What gives a buffer its number of rows in a step.
enum class Rows {
  tokens,         // tokens of the step
  outputs,        // rows whose logits are wanted
  sequences,      // sequences in the step
  sequences_one,  // sequences + 1
};
std::string_view to_string(Rows rows);
bool from_string(std::string_view text, Rows& rows);

// A tensor that lives for one step: [rows, columns] (columns 0: rank 1). Inputs of the step are buffers that
// no instruction writes.
struct Buffer {
  std::string name;  // the graph's value, e.g. "layers.0.attention"
  tensor::DType dtype = tensor::DType::f32;
  Rows rows = Rows::tokens;
  int64_t columns = 0;
  // Place in the arena of its kind: it begins at offset x rows and has row_bytes x rows bytes, where rows is
  // the step's count for `rows`. Buffers that live at the same time do not overlap, whatever the counts. Set
  // by plan_memory; inputs have their own place too, unless placed_by_runtime.
  int64_t offset = 0;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("dtype", dtype);
    v("rows", rows);
    v("columns", columns);
    v("offset", offset);
  }
};

// A weight, in the order the kernels read it.
struct Constant {
  std::string name;                          // of the checkpoint's tensor; the graph text refers to it by this name
  tensor::DType dtype = tensor::DType::f32;  // as stored
  tensor::Encoding encoding = tensor::Encoding::plain;
  std::vector<int64_t> dims;
  std::string layout;  // "plain": row-major; else a packed layout's name, e.g. "q4_1_panel"
  int64_t offset = 0;  // in the engine file's weight section
  int64_t bytes = 0;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("dtype", dtype);
    v("encoding", encoding);
    v("dims", dims);
    v("layout", layout);
    v("offset", offset);
    v("bytes", bytes);
  }
};

// What lives from step to step: the key-value cache of one layer, in blocks of positions.
struct State {
  std::string name;  // "cache.0"
  std::string kind;  // "append"
  int64_t kv_heads = 0;
  int64_t head_dim = 0;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("kind", kind);
    v("kv_heads", kv_heads);
    v("head_dim", head_dim);
  }
};

enum class OperandKind { absent, buffer, constant, state };
std::string_view to_string(OperandKind kind);
bool from_string(std::string_view text, OperandKind& kind);

struct Operand {
  OperandKind kind = OperandKind::absent;
  int64_t index = 0;  // into the plan's buffers, constants or states

  template <class V>
  void visit_fields(V& v) {
    v("kind", kind);
    v("index", index);
  }
  friend bool operator==(const Operand&, const Operand&) = default;
};

struct Instruction {
  std::string op;      // operator whose reference defines it: "lathe.Linear"
  std::string kernel;  // "cpu.linear"; "reference" runs the operator's own evaluate
  std::string name;    // where it comes from
  op::Attributes attributes;
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
};

// The plan of one device. Attributes of instructions are kept as graph text does, so that no tensor is
// inside.
struct Plan {
  std::string device = "cpu";
  std::string compute;   // rounding of activations before products: "f32", "bf16", "f16", "i8", "i16"
  std::string kv;        // element type of the cache: "f32", "f16", "bf16"
  int64_t kv_block = 0;  // positions of a cache block
  std::vector<Buffer> buffers;
  std::vector<Constant> constants;
  std::vector<State> states;
  std::vector<Instruction> instructions;
  int64_t logits = -1;  // buffer [outputs, vocabulary]
  // Bytes of arena per row of each kind, set by plan_memory. Buffers of Rows::sequences and
  // Rows::sequences_one share one arena of arena_sequences x (sequences + 1) bytes, the latter behind the
  // former.
  int64_t arena_tokens = 0;
  int64_t arena_outputs = 0;
  int64_t arena_sequences = 0;
};

// The inputs a step fills, by buffer name.
inline constexpr std::string_view kTokenIds = "token_ids";            // i64 [tokens]
inline constexpr std::string_view kPositions = "positions";           // i64 [tokens]
inline constexpr std::string_view kFirstToken = "first_token";        // i32 [sequences + 1]
inline constexpr std::string_view kFirstPosition = "first_position";  // i32 [sequences]
inline constexpr std::string_view kBlockTable = "block_table";        // i32 [sequences, blocks]
inline constexpr std::string_view kOutputRows = "output_rows";        // i64 [outputs]

// Whether the runtime places the buffer of this name itself: one of the inputs above, offset 0, not in the
// arena.
bool placed_by_runtime(std::string_view name);
// Bytes of one row: columns (or 1) x element.
int64_t row_bytes(const Buffer& buffer);

// Index of the buffer called `name`, or -1.
int64_t find_buffer(const Plan& plan, std::string_view name);

// Gives every buffer its offset so that buffers whose lifetimes meet do not overlap (greedy by size, a
// residual input may be written in place by its last user), and sets the arena sizes. Offsets are multiples
// of 64 bytes per row for f32 buffers of 16 columns or more.
void plan_memory(Plan& plan);

// Throws invalid_input naming instruction and operand for indices out of range, buffers read before they are
// written, overlapping live buffers, unknown operators: a plan that was read from a file is not trusted.
void check(const Plan& plan);
// Throws invalid_input, naming the instruction, where the operator's infer and the operands do not agree in
// dtype, rows or columns, and for buffers that are read but never filled. `plan` has passed check(plan).
void check_types(const Plan& plan);

// One line per instruction, constant and state; what tests of printed plans compare.
std::string print(const Plan& plan);

}  // namespace lathe::plan
