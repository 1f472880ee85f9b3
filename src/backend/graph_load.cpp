#include "backend/graph_load.h"

#include <algorithm>

#include "backend/device.h"
#include "backend/graph_kernel.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "plan/graph_body.h"

namespace lathe::backend {
namespace {

using plan::Constant;
using plan::GraphModel;
using plan::Instruction;
using plan::OperandKind;

// What reads a packed constant.
struct Use {
  const GraphLayout* layout = nullptr;  // null: nothing so far
  const Instruction* instruction = nullptr;
  int64_t variant = 0;
};

struct PackJob {
  GraphModel* model;
  size_t constant;
  Use use;
};

class Loader {
 public:
  explicit Loader(const plan::EngineFile& engine) : engine_(engine) {}

  std::shared_ptr<const GraphModel> run(const GraphModel& stored) {
    auto model = load(stored);
    if (!jobs_.empty()) {
      Team team(int(std::min<size_t>(jobs_.size(), size_t(available_cpus()))));
      team.for_each(int64_t(jobs_.size()), [&](int64_t i) { pack(jobs_[size_t(i)]); });
      for (const PackJob& job : jobs_) job.model->to_pack.clear();
    }
    return model;
  }

 private:
  std::shared_ptr<GraphModel> load(const GraphModel& stored) {
    auto model = std::make_shared<GraphModel>(stored);
    const Device& device = get_device(model->plan.device);
    std::vector<Use> uses(model->constants.size());
    for (Instruction& instruction : model->plan.instructions) {
      with_context(fmt::format("{} \"{}\"", instruction.op, instruction.name), [&] {
        for (size_t i = 0; i < instruction.inputs.size(); ++i) note_use(device, *model, instruction, i, uses);
        load_bodies(instruction);
      });
    }
    for (size_t i = 0; i < uses.size(); ++i) {
      if (uses[i].layout) check_bytes(*model, i, uses[i]);
      if (uses[i].layout || model->plan.constants[i].layout == "plain") continue;
      fail(ErrorCode::invalid_input, "constant \"{}\" is packed, and no instruction reads it so",
           model->plan.constants[i].name);
    }
    for (const plan::GraphOutput& output : model->plan.outputs) {
      if (output.operand.kind != OperandKind::constant) continue;
      if (model->plan.constants[size_t(output.operand.index)].layout == "plain") continue;
      fail(ErrorCode::invalid_input, "output \"{}\" is a packed constant", output.name);
    }
    return model;
  }

  void load_bodies(Instruction& instruction) {
    op::Attributes attributes = instruction.attributes;
    for (const auto& [name, value] : instruction.attributes) {
      const plan::GraphBody* body = plan::find_body(value);
      if (body) attributes.set(name, std::make_shared<plan::GraphBody>(body->plain(), load(*body->model())));
    }
    instruction.attributes = std::move(attributes);
  }

  void note_use(const Device& device, const GraphModel& model, const Instruction& instruction, size_t input,
                std::vector<Use>& uses) const {
    const plan::Operand& operand = instruction.inputs[input];
    if (operand.kind != OperandKind::constant) return;
    const Constant& constant = model.plan.constants[size_t(operand.index)];
    if (constant.layout == "plain") return;
    const GraphLayout* layout = find_graph_layout(device, constant.layout);
    if (!layout) {
      fail(ErrorCode::unsupported,
           "layout \"{}\" is not known to this program; build the engine again: lathe build {} -o NEW.lathe",
           constant.layout, engine_.path().string());
    }
    Use use{layout, &instruction, layout->variant ? layout->variant(instruction) : 0};
    Use& known = uses[size_t(operand.index)];
    const bool same = !known.layout || known.variant == use.variant;
    if (!same || !layout->wanted(instruction, input, constant.dtype, constant.dims)) {
      fail(ErrorCode::invalid_input, "constant \"{}\" in {} is not what input {} takes", constant.name, constant.layout,
           input);
    }
    known = use;
  }

  void check_bytes(GraphModel& model, size_t index, const Use& use) {
    const Constant& constant = model.plan.constants[index];
    const auto& list = model.to_pack;
    if (std::find(list.begin(), list.end(), index) != list.end()) {
      jobs_.push_back({&model, index, use});
      return;
    }
    const bool stored = use.layout->stored();
    const size_t expected = stored ? use.layout->size(constant.dims, use.variant) : 0;
    if (stored && expected == size_t(constant.bytes)) return;
    fail(ErrorCode::invalid_input, "constant \"{}\": {} takes {} bytes, found {}", constant.name, constant.layout,
         expected, constant.bytes);
  }

  static void pack(const PackJob& job) {
    tensor::Tensor& tensor = job.model->constants[job.constant];
    tensor = job.use.layout->pack(*job.use.instruction, tensor);
  }

  const plan::EngineFile& engine_;
  std::vector<PackJob> jobs_;
};

}  // namespace

std::shared_ptr<const GraphModel> load_graph(const plan::EngineFile& engine, const plan::EngineGraph& graph) {
  return with_context(engine.path().string(), [&] { return Loader(engine).run(*graph.model); });
}

int least_isa(const GraphModel& model) {
  const Device& device = get_device(model.plan.device);
  int isa = 0;
  plan::each_constant(model, [&](const Constant& constant) {
    const GraphLayout* layout = find_graph_layout(device, constant.layout);
    if (layout) isa = std::max(isa, layout->isa);
  });
  return isa;
}

void require_isa(const GraphModel& model, int isa) {
  const int least = least_isa(model);
  if (least <= isa) return;
  const Device& device = get_device(model.plan.device);
  fail(ErrorCode::unsupported,
       "weights are packed for {}, this session runs on {}; build the engine again from itself: lathe build OLD.lathe "
       "-o "
       "NEW.lathe",
       isa_name(device, least), isa_name(device, isa));
}

}  // namespace lathe::backend
