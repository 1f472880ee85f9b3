// A compiled graph of any kind that runs: inputs of any lengths in, outputs out (docs/adr/0007).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/team.h"
#include "op/bindings.h"
#include "op/op.h"
#include "plan/graph_engine.h"

namespace lathe::runtime {

struct GraphOptions {
  int threads = 0;  // 0: as many as the process may use
  std::string isa;  // of the device; empty: the best of this machine
  op::RunLimits limits;
  // Lengths that inputs may have; empty: any. Others are refused.
  std::vector<plan::InputProfile> profile = {};
  // Multiplications of a stage up to which it runs on one thread: about 50 microseconds. 0: none does.
  double alone_below = 2e6;
  // Called behind each run with the model, what was given and what came out; for whoever sets the options of sessions
  // that others make.
  using OnRun = std::function<void(const plan::GraphModel& model, const std::map<std::string, op::Datum>& inputs,
                                   const std::map<std::string, op::Datum>& results)>;
  OnRun on_run = {};
};

// What one instruction of the last call took, for profiles.
struct InstructionTime {
  std::string op, name, kernel;  // kernel "reference": the operator's own evaluate
  std::string shape;             // of its first output
  double ms = 0;
  std::vector<std::string> outputs = {};  // names of its results; of a reorder none
};

// What a call would run, as far as lengths tell before it.
struct BoundInstruction {
  std::string op, name, kernel;  // kernel "reference": the operator's own evaluate, for these reasons
  std::string shape;             // of its first output
  std::vector<std::string> refusals;
};
struct BoundGraph {
  std::vector<BoundInstruction> instructions;  // reorders included; what is known without a run is not
  std::string stopped_at;                      // the instruction that only the run can measure; empty: none
  size_t not_bound = 0;                        // it and those behind it
  size_t arena_bytes = 0;                      // values and scratch
  size_t scratch_bytes = 0;
  size_t live_bytes = 0;    // of values, at the most
  std::string live_during;  // the instruction that has them
  double multiplications = 0;  // of convolutions, products, attention and recurrent layers, as they are defined
};

// Not thread safe: one call at a time.
class GraphSession {
 public:
  // Throws unsupported for a device this program does not know and an ISA this machine lacks.
  explicit GraphSession(std::shared_ptr<const plan::GraphModel> model, const GraphOptions& options = {});
  ~GraphSession();
  GraphSession(const GraphSession&) = delete;
  GraphSession& operator=(const GraphSession&) = delete;

  using Data = std::map<std::string, op::Datum>;
  // Inputs by name. Tensors among the results are views that hold until the next call. Throws invalid_input for an
  // input that is missing, unknown, or of another dtype, rank or length than the graph declares (naming expected and
  // found), and what operators throw; resource where memory runs out.
  Data run(const Data& inputs);

  // Called with each result as it is known, as the graph means it (row-major); slows the call down. Values known before
  // the run are not shown.
  using Tap = std::function<void(const std::string& name, const tensor::Tensor& value)>;
  void set_tap(Tap tap);
  // Asked for each result, behind the tap: a tensor of the same type and lengths takes its place for all that comes
  // behind, nullptr leaves it. Views stay what their input is.
  using Replace = std::function<const tensor::Tensor*(const std::string& name)>;
  void set_replacement(Replace replace);
  // One more call with a clock at every instruction.
  std::vector<InstructionTime> profile(const Data& inputs);

  // Binds the graph to inputs of these types and lengths without running it; their elements do not matter. Throws as
  // run does for inputs that do not fit.
  BoundGraph bound(const Data& inputs);
  // The same for the lengths that symbols stand for, without allocating anything; constants need not be there, but for
  // those of shapes. Throws usage for a length that stays open.
  BoundGraph measured(const op::Bindings& symbols);

  size_t arena_bytes() const;  // of all programs that are bound
  int threads() const;

 private:
  class Body;
  GraphSession(std::shared_ptr<const plan::GraphModel> model, const GraphOptions& options, std::shared_ptr<Team> team);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe::runtime
