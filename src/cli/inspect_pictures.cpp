#include "cli/inspect_pictures.h"

#include <algorithm>

#include "base/fields.h"
#include "base/file.h"
#include "cli/picture_flags.h"
#include "image/picture_text.h"
#include "pipeline/diffuse/picture_latents.h"
#include "pipeline/diffuse/settings.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;

double giga(double number) {
  return number / 1e9;
}

// One model of the pipeline: "unet           UNet2DConditionModel       865.9 M parameters, 1731.8 MB: 686 f16".
Json report_component(const std::string& role, const frontend::ComponentInput& component, const Output& output) {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, int64_t> kinds;
  for (const auto& [name, source] : component.tensors) {
    parameters += tensor::element_count(std::span<const int64_t>(source->dims()));
    bytes += source->byte_size();
    ++kinds[std::string(tensor::to_string(source->dtype()))];
  }
  std::vector<std::string> parts;
  for (const auto& [kind, count] : kinds) parts.push_back(fmt::format("{} {}", count, kind));
  const frontend::Component& kind = frontend::get_component(component.config);
  const Json* names = find_member(component.config, "architectures");
  std::string class_name = find_string(component.config, "_class_name").value_or("");
  if (class_name.empty() && names && names->is_array() && !names->empty() && (*names)[0].is_string())
    class_name = (*names)[0].get<std::string>();
  if (class_name.empty()) class_name = kind.class_names[0];
  output.print(fmt::format("  {:<15} {:<28} {:>8.2f} M parameters, {:.1f} MB: {}", role, class_name,
                           double(parameters) / 1e6, double(bytes) / 1e6, fmt::join(parts, ", ")));
  return {{"role", role}, {"class", class_name}, {"parameters", parameters}, {"bytes", bytes}, {"tensors", kinds}};
}

// What a person would ask of it and not get.
std::vector<std::string> limits_of(const PictureModel& model) {
  const contract::Pictures& contract = model.contract;
  const auto has = [&](std::string_view name) {
    return std::find(model.measurable.names.begin(), model.measurable.names.end(), name) !=
           model.measurable.names.end();
  };
  std::vector<std::string> limits;
  if (contract.unet_channels != contract.latent_channels)
    limits.push_back("it paints into pictures: --image and --mask are needed");
  if (!has("vae_encoder")) limits.push_back("no --image and --mask: the autoencoder has no encoder");
  if (!has("vae_decoder")) limits.push_back("no pictures: there is no decoder of an autoencoder");
  if (contract.guidance_embedded) limits.push_back("no negative prompts: guidance is an input of the UNet");
  if (contract.safety_checker && !has("safety_checker"))
    limits.push_back("no safety checker, with which it was published: lathe run needs --no-safety-checker");
  for (const char* suffix : {"", "_2"}) {
    if (!model.assets.contains(fmt::format("text_encoder{}/config.json", suffix))) continue;
    const std::string folder = fmt::format("tokenizer{}/", suffix);
    if (!model.assets.contains(folder + "vocab.json") && !model.assets.contains(folder + "tokenizer.json"))
      limits.push_back(fmt::format("no vocabulary for text_encoder{}: give --tokenizer FOLDER", suffix));
  }
  return limits;
}

// A picture of the model's own size with guidance: memory and multiplications, as far as its plans tell.
void report_cost(const PictureModel& model, const PictureInspectFlags& flags, Json& json, const Output& output) {
  const contract::Pictures& contract = model.contract;
  pipeline::PictureRequest request;
  request.width = flags.width;
  request.height = flags.height;
  request.batch = flags.batch;
  if (contract.unet_channels != contract.latent_channels) {  // it asks for a picture, whose content does not matter
    const int64_t side = contract.sample_size * contract.latent_scale;
    request.image = tensor::Tensor(tensor::DType::f32, {1, 3, side, side});
    request.mask = tensor::Tensor(tensor::DType::f32, {1, 1, side, side});
  }
  request = pipeline::completed(std::move(request), contract);
  pipeline::PictureMeter meter(contract, model.measurable, {});
  const pipeline::PictureMemory memory = meter.predict(request);
  output.print(fmt::format("takes         for a picture of {} x {} with guidance {:g}: {:.0f} MB at its peak, in {}",
                           request.width, request.height, request.guidance, double(memory.peak_bytes()) / 1e6,
                           memory.largest().graph));
  json["picture"] = {{"width", request.width},
                     {"height", request.height},
                     {"guidance", request.guidance},
                     {"peak_bytes", memory.peak_bytes()},
                     {"parts", Json::array()}};
  for (const pipeline::PicturePart& part : memory.parts) {
    output.print(fmt::format("  {:<15} {:>8.1f} MB of weights, {:>8.1f} MB to work in, {:>9.2f} GFLOP a call",
                             part.graph, double(part.weight_bytes) / 1e6, double(part.working_bytes) / 1e6,
                             giga(2 * part.multiplications)));
    json["picture"]["parts"].push_back({{"graph", part.graph},
                                        {"weight_bytes", part.weight_bytes},
                                        {"working_bytes", part.working_bytes},
                                        {"flop", 2 * part.multiplications}});
  }
}

}  // namespace

void add_picture_inspect_flags(CLI::App& command, PictureInspectFlags& flags) {
  add_pipeline_flags(command, flags.pipeline);
  command.add_option("--width", flags.width, "of a pipeline: size of the picture whose memory and work are told");
  command.add_option("--height", flags.height, "the same");
  command.add_option("--batch", flags.batch, "pictures at once")->capture_default_str();
}

void report_pictures(const PictureModel& model, const PictureInspectFlags& flags, Json& json, const Output& output) {
  const contract::Pictures& contract = model.contract;
  pipeline::PictureRequest plain;
  const contract::SchedulerConfig scheduler = pipeline::scheduler_config(contract, plain);
  const std::string name = pipeline::scheduler_name(contract, plain).name;
  const int64_t side = contract.sample_size * contract.latent_scale;
  output.print(fmt::format(
      "pipeline      {} \"{}\"\n"
      "predicts      {}\n"
      "scheduler     {}{}: {} training steps, beta {:g} to {:g} {}, spacing {}\n"
      "pictures      {} x {} pixels, any multiple of {}; latents {} x {} x {}, times {:g}{}\n"
      "prompts       chunks of {} tokens, {} numbers each, {}",
      contract.pipeline, contract.name, to_string(scheduler.prediction_type), scheduler.class_name,
      name.empty() ? "" : fmt::format(" ({})", name), scheduler.num_train_timesteps, scheduler.beta_start,
      scheduler.beta_end, to_string(scheduler.beta_schedule), to_string(scheduler.timestep_spacing), side, side,
      contract.latent_scale, contract.latent_channels, contract.sample_size, contract.sample_size,
      contract.scaling_factor, contract.shift_factor == 0 ? "" : fmt::format(" plus {:g}", contract.shift_factor),
      contract.text_tokens, contract.context_width, contract.two_encoders ? "two text encoders" : "one text encoder"));
  json["contract"] = to_json(contract);
  json["contract"].erase("scheduler");
  json["scheduler"] = to_json(scheduler);
  json["scheduler_name"] = name;
  const std::vector<std::string> limits = limits_of(model);
  for (const std::string& limit : limits) output.print(fmt::format("cannot        {}", limit));
  json["limits"] = limits;
  report_cost(model, flags, json, output);
}

Json inspect_pictures(const fs::path& path, const PictureInspectFlags& flags, const Output& output) {
  const auto checkpoint =
      std::make_shared<const frontend::PictureCheckpoint>(frontend::PictureCheckpoint::open(path, flags.pipeline));
  const bool folder = file_kind(path) == FileKind::folder;
  output.print(fmt::format("{}\nkind          picture pipeline, {}", path.string(),
                           checkpoint->is_onnx() ? "folder of ONNX graphs"
                           : folder              ? "diffusers folder"
                                                 : "single file in the original code's names"));
  Json json = {{"path", path.string()}, {"kind", "pictures"}, {"components", Json::array()}};
  int64_t parameters = 0;
  output.print("models");
  for (const auto& [role, component] : checkpoint->components()) {
    if (checkpoint->is_onnx() && component.tensors.empty()) continue;  // its numbers are among those of the graphs
    json["components"].push_back(report_component(role, component, output));
    parameters += json["components"].back()["parameters"].get<int64_t>();
  }
  json["parameters"] = parameters;
  json["tensor_bytes"] = checkpoint->tensor_bytes();
  for (const std::string& note : checkpoint->notes()) output.print(fmt::format("note          {}", note));
  json["notes"] = checkpoint->notes();
  report_pictures(picture_model_of(checkpoint), flags, json, output);
  Json files = Json::array();
  for (const fs::path& file : checkpoint->files()) files.push_back(file.string());
  json["files"] = files;
  return json;
}

bool is_picture_file(const fs::path& path) {
  const std::string head = read_file_head(path, 12);
  return head.starts_with("\x89PNG\r\n\x1a\n") || head.starts_with("\xff\xd8\xff") ||
         (head.size() == 12 && head.starts_with("RIFF") && head.ends_with("WEBP"));
}

Json inspect_picture_file(const fs::path& path, const Output& output) {
  const auto file = MappedFile::open(path);
  return with_context(path.string(), [&] {
    const image::Image image = image::decode(file->bytes());
    output.print(fmt::format("{}\nkind          picture, {} x {} pixels, {}", path.string(), image.width, image.height,
                             image.channels == 1 ? "grey" : "colours"));
    Json json = {{"path", path.string()},  {"kind", "picture"},          {"width", image.width},
                 {"height", image.height}, {"channels", image.channels}, {"settings", nullptr}};
    const auto text = image::find_picture_text(file->bytes());
    if (!text) {
      output.print("settings      none: the file does not say how it was made");
      return json;
    }
    const pipeline::PictureSettings settings = pipeline::read_settings(*text);
    output.print("settings");
    output.print(*text);
    json["text"] = *text;
    json["settings"] = to_json(settings);
    for (const auto& [key, value] : settings.others) json["settings"]["others"][key] = value;
    return json;
  });
}

}  // namespace lathe::cli
