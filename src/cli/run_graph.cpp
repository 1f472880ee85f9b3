#include "cli/run_graph.h"

#include <algorithm>

#include "base/file.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "io/npy.h"
#include "io/onnx.h"
#include "io/onnx_write.h"
#include "ir/graph.h"
#include "runtime/finite_outputs.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using Inputs = std::map<std::string, op::Datum>;

tensor::Tensor read_tensor(const fs::path& path) {
  if (path.extension() == ".npy") return io::read_npy(path);
  if (path.extension() != ".pb") fail(ErrorCode::usage, "{}: expected a .npy or a .pb file", path.string());
  const auto file = MappedFile::open(path);
  return with_context(path.string(), [&] { return io::load_onnx_tensor(io::parse_onnx_tensor(file->bytes())); });
}

bool has_npy_type(tensor::DType dtype) {
  using tensor::DType;
  return dtype == DType::f16 || dtype == DType::f32 || dtype == DType::f64 || dtype == DType::boolean ||
         dtype == DType::c64 || dtype == DType::c128 || (tensor::is_integer(dtype) && tensor::bits(dtype) >= 8);
}

// Writes tensors under their names; no two names may become one file.
class TensorFolder {
 public:
  explicit TensorFolder(fs::path folder) : folder_(std::move(folder)) {
    if (!folder_.empty()) fs::create_directories(folder_);
  }

  // Reserves the names, so that a collision is found before anything is written.
  void reserve(const std::string& name) {
    const auto [it, fresh] = names_.emplace(file_stem(name), name);
    if (!fresh && it->second != name) {
      fail(ErrorCode::usage, "\"{}\" and \"{}\" would both be written to {}", it->second, name, it->first);
    }
  }

  // The file's name.
  std::string write(const std::string& name, const tensor::Tensor& tensor) const {
    const bool npy = has_npy_type(tensor.dtype());
    const fs::path path = folder_ / (file_stem(name) + (npy ? ".npy" : ".pb"));
    if (npy) {
      io::write_npy(path, tensor);
    } else {
      const auto bytes = io::serialize_onnx_tensor(io::OnnxTensor::of(name, tensor));
      write_text_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    return path.string();
  }

 private:
  fs::path folder_;
  std::map<std::string, std::string> names_;  // stem -> name
};

Json described(const std::string& name, const tensor::Tensor& tensor) {
  return {{"name", name}, {"dtype", std::string(to_string(tensor.dtype()))}, {"dims", tensor.dims()}};
}

// Writes one output (each item of a sequence) and says what it is.
Json write_output(const std::string& name, const op::Datum& datum, const TensorFolder* folder, const Output& output) {
  const auto one = [&](const std::string& part, const tensor::Tensor& tensor) {
    Json json = described(part, tensor);
    if (folder) json["file"] = folder->write(part, tensor);
    output.print(fmt::format("{}: {}{}{}", part, to_string(tensor.dtype()), tensor::to_string(std::span(tensor.dims())),
                             folder ? " -> " + json["file"].get<std::string>() : ""));
    return json;
  };
  if (datum.is_tensor()) return one(name, datum.tensor());
  Json json = {{"name", name}, {"items", datum.is_sequence() ? Json::array() : Json()}};
  if (!datum.is_sequence()) output.print(name + ": nothing");
  for (size_t i = 0; datum.is_sequence() && i < datum.items().size(); ++i) {
    json["items"].push_back(one(fmt::format("{}_{}", name, i), datum.items()[i]));
  }
  return json;
}

Inputs run_reference(const ir::Graph& graph, const Inputs& inputs, const op::RunLimits& limits,
                     const runtime::GraphSession::Tap& dump) {
  ir::EvaluateOptions options;
  options.limits = limits;
  if (dump) {
    options.observe = [&](ir::Value value, const tensor::Tensor& tensor) {
      dump(graph.name(value), tensor);
      return true;
    };
  }
  return ir::evaluate_data(graph, inputs, options);
}

}  // namespace

std::string file_stem(std::string name) {
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == ':'; }, '_');
  return name;
}

void add_graph_flags(CLI::App& command, GraphFlags& flags) {
  command.add_option("--input", flags.inputs, "of a graph: NAME=FILE, a .npy or .pb file; once for each input");
  command.add_option("--output-dir", flags.output_dir, "write the model's outputs here, as .npy (.pb for other types)");
  command.add_flag("--dump-tensors", flags.dump_tensors, "write every result there, not only the outputs");
  command.add_flag("--reference", flags.reference,
                   "run a graph operator by operator with the slow reference, without compiling it");
  command.add_option("--graph", flags.graph, "which graph of an engine that has several");
  command.add_flag("--allow-nonfinite", flags.allow_nonfinite, "NaN and infinity in a graph's outputs are meant");
  command.add_option("--max-iterations", flags.max_iterations, "rounds after which a loop counts as endless")
      ->capture_default_str();
}

std::map<std::string, op::Datum> read_graph_inputs(const std::vector<std::string>& texts) {
  Inputs inputs;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) fail(ErrorCode::usage, "--input {}: expected NAME=FILE", text);
    const std::string name = text.substr(0, equals);
    if (!inputs.emplace(name, read_tensor(text.substr(equals + 1))).second) {
      fail(ErrorCode::usage, "--input {}: given twice", name);
    }
  }
  return inputs;
}

Exit run_graph(const fs::path& model, const GraphFlags& flags, const runtime::GraphOptions& options,
               const Output& output) {
  if (flags.dump_tensors && flags.output_dir.empty()) fail(ErrorCode::usage, "--dump-tensors needs --output-dir");
  if (flags.max_iterations < 0) fail(ErrorCode::usage, "--max-iterations {}", flags.max_iterations);
  const GraphSource source = GraphSource::open(model, flags.graph, flags.check, flags.precision);
  const Inputs inputs = read_graph_inputs(flags.inputs);
  const std::vector<std::string> names = source.outputs();
  TensorFolder folder(flags.output_dir);
  for (const std::string& name : names) folder.reserve(name);
  if (flags.dump_tensors) {
    for (const std::string& name : source.values()) folder.reserve(name);
  }
  const runtime::GraphSession::Tap dump = [&](const std::string& name, const tensor::Tensor& tensor) {
    folder.write(name, tensor);
  };
  op::RunLimits limits{.max_iterations = flags.max_iterations};

  std::unique_ptr<runtime::GraphSession> session;  // owns what the results view
  Inputs results;
  double load_ms = 0;
  if (flags.reference) {
    const ir::Graph graph = source.graph();
    load_ms = output.ms_since_start();
    results = run_reference(graph, inputs, limits, flags.dump_tensors ? dump : nullptr);
  } else {
    runtime::GraphOptions session_options = source.session_options(options);
    session_options.limits = limits;
    session = std::make_unique<runtime::GraphSession>(source.model(), session_options);
    if (flags.dump_tensors) session->set_tap(dump);
    load_ms = output.ms_since_start();
    results = session->run(inputs);
  }
  if (!flags.allow_nonfinite && !source.allow_nonfinite()) runtime::require_finite(results);
  const double run_ms = output.ms_since_start() - load_ms;
  Json json = {{"outputs", Json::array()}};
  for (const std::string& name : names) {
    json["outputs"].push_back(
        write_output(name, results.at(name), flags.output_dir.empty() ? nullptr : &folder, output));
  }
  json["timings"] = {{"load_ms", load_ms}, {"run_ms", run_ms}};
  json["memory"] = memory_json(memory_use());
  output.note(fmt::format("{} {} {} in {:.1f} ms, loaded in {:.0f} ms", source.nodes(),
                          source.engine() ? "instructions" : "nodes",
                          flags.reference ? "on the reference executor" : "compiled, run", run_ms, load_ms));
  output.result(json);
  return Exit::good;
}

}  // namespace lathe::cli
