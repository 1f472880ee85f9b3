#include "cli/pictures.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/file.h"
#include "base/memory.h"
#include "cli/model.h"
#include "image/encode.h"
#include "image/picture_text.h"
#include "image/resize.h"
#include "io/npy.h"
#include "pipeline/diffuse/settings.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::Tensor;

image::Image read_image(const std::string& path) {
  const auto file = MappedFile::open(path);
  return with_context(path, [&] { return image::decode(file->bytes()); });
}

// The picture to begin with, and its mask. Sizes not asked for are the picture's own, down to whole latents.
void read_pictures(const PictureFlags& flags, int64_t multiple, pipeline::PictureRequest& request) {
  if (flags.image.empty()) {
    if (!flags.mask.empty()) fail(ErrorCode::usage, "--mask needs --image");
    return;
  }
  const image::Image image = image::to_rgb(read_image(flags.image));
  if (request.width == 0) request.width = image.width / multiple * multiple;
  if (request.height == 0) request.height = image.height / multiple * multiple;
  // As diffusers' image processors: by Lanczos, the mask too.
  const auto fitted = [&](const image::Image& found) {
    const bool fits = found.width == request.width && found.height == request.height;
    return fits ? found : image::resize(found, request.width, request.height, image::Filter::lanczos);
  };
  const std::vector<float> planes = image::to_planes(fitted(image));
  request.image = Tensor::of<float>({1, 3, request.height, request.width}, std::span<const float>(planes));
  if (flags.mask.empty()) return;
  const image::Image mask = fitted(image::to_grey(read_image(flags.mask)));
  request.mask = Tensor(DType::f32, {1, 1, request.height, request.width});
  std::transform(mask.pixels.begin(), mask.pixels.end(), request.mask.data<float>().begin(),
                 [](uint8_t pixel) { return float(pixel) / 255.0f >= 0.5f ? 1.0f : 0.0f; });
}

// The settings that a picture was made with. Throws usage for one that does not say.
pipeline::PictureSettings settings_of(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto text = with_context(path, [&] { return image::find_picture_text(file->bytes()); });
  if (!text) fail(ErrorCode::usage, "--like {}: the picture does not say how it was made", path);
  return pipeline::read_settings(*text);
}

// What is not asked for on the command line is as in the picture.
void take_settings(const pipeline::PictureSettings& settings, PictureRun& run, PictureFlags& flags) {
  if (!run.prompt) run.prompt = settings.prompt;
  if (!run.seed) run.seed = settings.seed;
  if (!flags.negative_prompt && !settings.negative_prompt.empty()) flags.negative_prompt = settings.negative_prompt;
  if (flags.steps == 0) flags.steps = int(settings.steps.value_or(0));
  if (!flags.guidance) flags.guidance = settings.guidance;
  if (flags.scheduler.empty()) flags.scheduler = settings.scheduler;
  if (flags.width == 0) flags.width = settings.width.value_or(0);
  if (flags.height == 0) flags.height = settings.height.value_or(0);
  if (!flags.strength) flags.strength = settings.strength;
  if (flags.clip_skip == 0) flags.clip_skip = settings.clip_skip.value_or(0);
  if (flags.guidance_rescale == 0) flags.guidance_rescale = settings.guidance_rescale.value_or(0);
  if (flags.eta == 0) flags.eta = settings.eta.value_or(0);
  if (flags.noise == "torch" && !settings.noise.empty()) flags.noise = settings.noise;
}

pipeline::PictureRequest make_request(const PictureRun& run, const PictureFlags& flags, int64_t multiple) {
  pipeline::PictureRequest request;
  if (!run.prompt) fail(ErrorCode::usage, "give one of --prompt, --file and --like");
  request.prompt = *run.prompt;
  request.negative_prompt = flags.negative_prompt;
  request.width = flags.width;
  request.height = flags.height;
  if (flags.steps < 0) fail(ErrorCode::usage, "--steps {}: expected at least 1", flags.steps);
  request.steps = flags.steps;
  if (flags.guidance && !(*flags.guidance >= 0))
    fail(ErrorCode::usage, "--guidance {}: expected 0 or more", *flags.guidance);
  request.guidance = flags.guidance.value_or(-1);
  request.guidance_rescale = flags.guidance_rescale;
  request.eta = flags.eta;
  request.seed = run.seed.value_or(0);
  request.noise = flags.noise;
  request.batch = flags.batch;
  request.clip_skip = flags.clip_skip;
  request.scheduler = flags.scheduler;
  request.plain_prompt = flags.plain_prompt;
  if (flags.strength && !(*flags.strength >= 0))
    fail(ErrorCode::usage, "--strength {}: expected 0 to 1", *flags.strength);
  request.strength = flags.strength.value_or(-1);
  read_pictures(flags, multiple, request);
  return request;
}

// F.png, or F-0.png ... for a batch.
fs::path output_path(const std::string& output, int64_t index, int64_t batch) {
  const fs::path path = output;
  if (batch == 1) return path;
  return path.parent_path() / fmt::format("{}-{}{}", path.stem().string(), index, path.extension().string());
}

// A picture of one colour, or one that is all black and white, is what broken pipelines give.
std::string suspicion(const image::Image& image) {
  double sum = 0, squares = 0;
  int64_t extreme = 0;
  for (const uint8_t pixel : image.pixels) {
    sum += pixel;
    squares += double(pixel) * pixel;
    extreme += pixel == 0 || pixel == 255;
  }
  const double count = double(image.pixels.size());
  const double deviation = std::sqrt(std::max(0.0, squares / count - sum / count * (sum / count)));
  if (deviation < 1) return fmt::format("blank: its pixels deviate by {:.2f} of 255", deviation);
  if (double(extreme) > 0.98 * count)
    return fmt::format("saturated: {:.1f} % of it is 0 or 255", 100 * double(extreme) / count);
  return "";
}

// The command line's name where one was given, else the class.
std::string scheduler_name(const PictureFlags& flags, const pipeline::PictureResult& result) {
  return flags.scheduler.empty() ? result.scheduler.class_name : flags.scheduler;
}

std::string settings_text(const pipeline::PictureRequest& request, const PictureFlags& flags,
                          const pipeline::PictureResult& result, const std::string& model, int64_t index) {
  pipeline::PictureSettings settings;
  settings.prompt = request.prompt;
  settings.negative_prompt = request.negative_prompt.value_or("");
  settings.steps = result.steps;
  settings.scheduler = scheduler_name(flags, result);
  settings.guidance = result.guidance;
  settings.seed = request.seed + uint64_t(index);
  settings.width = result.width;
  settings.height = result.height;
  if (request.image.defined()) settings.strength = result.strength;
  if (request.clip_skip > 0) settings.clip_skip = request.clip_skip;
  if (request.guidance_rescale > 0) settings.guidance_rescale = request.guidance_rescale;
  if (request.eta > 0) settings.eta = request.eta;
  if (request.noise != "torch") settings.noise = request.noise;
  settings.model = model;
  settings.version = "lathe " LATHE_VERSION;
  return pipeline::write_settings(settings);
}

// The file's bytes in the format of its extension.
std::string encoded(const fs::path& path, const image::Image& image, int quality, const std::string& text) {
  const std::string extension = path.extension().string();
  if (extension == ".png") {
    const image::PngText chunk{std::string(pipeline::kSettingsKey), text};
    return image::encode_png(image, text.empty() ? std::span<const image::PngText>() : std::span(&chunk, 1));
  }
  return extension == ".webp" ? image::encode_webp(image, quality, text) : image::encode_jpeg(image, quality, text);
}

Json write_pictures(const pipeline::PictureRequest& request, const PictureFlags& flags,
                    const pipeline::PictureResult& result, const std::string& model, const Output& output) {
  Json files = Json::array();
  std::vector<image::Image> images;
  for (int64_t i = 0; i < flags.batch; ++i) {
    const fs::path path = output_path(flags.output, i, flags.batch);
    const auto planes = result.images.data<float>();
    const size_t size = planes.size() / size_t(flags.batch);
    images.push_back(image::from_planes(planes.subspan(size_t(i) * size, size), result.width, result.height));
    if (const std::string found = suspicion(images.back()); !found.empty()) {
      output.note(fmt::format("warning: {} is {}", path.string(), found));
    }
    write_text_file(path, encoded(path, images.back(), flags.quality, settings_text(request, flags, result, model, i)));
    files.push_back({{"file", path.string()}, {"seed", request.seed + uint64_t(i)}});
    output.print(path.string());
  }
  if (flags.contact_sheet > 0) {
    constexpr int64_t kGap = 8;
    constexpr uint8_t kBackground = 128;
    const fs::path base = flags.output;
    const fs::path path = base.parent_path() / (base.stem().string() + "-sheet" + base.extension().string());
    write_text_file(
        path, encoded(path, image::contact_sheet(images, flags.contact_sheet, kGap, kBackground), flags.quality, ""));
    output.print(path.string());
  }
  if (!flags.dump_latents.empty()) io::write_npy(flags.dump_latents, result.latents);
  return files;
}

void check_output(const PictureFlags& flags) {
  const std::string extension = fs::path(flags.output).extension().string();
  if (extension != ".png" && extension != ".jpg" && extension != ".jpeg" && extension != ".webp") {
    fail(ErrorCode::usage, "-o {}: expected a name that ends in .png, .jpg, .jpeg or .webp", flags.output);
  }
  if (flags.quality < 1 || flags.quality > 100)
    fail(ErrorCode::usage, "--quality {}: expected 1 to 100", flags.quality);
  if (flags.contact_sheet < 0)
    fail(ErrorCode::usage, "--contact-sheet {}: expected a number of columns", flags.contact_sheet);
}

}  // namespace

void add_picture_flags(CLI::App& command, PictureFlags& flags) {
  command.add_option("--negative-prompt", flags.negative_prompt, "of a picture: what not to show");
  command.add_option("--steps", flags.steps, "of a picture: steps (default: 50, 4 of a consistency model)");
  command.add_option("--guidance", flags.guidance,
                     "of a picture: weight of the prompt (default: 7.5, SDXL 5; 1: none)");
  command.add_option("--guidance-rescale", flags.guidance_rescale, "0 to 1: against overexposure, v-prediction models");
  command.add_option("--eta", flags.eta, "0 to 1: noise that ddim adds");
  command.add_option("--scheduler", flags.scheduler,
                     "of a picture: ddim, euler, euler_a, dpm++2m ... (default: the model's)");
  command.add_option("--noise", flags.noise, "whose random numbers a seed stands for: torch, cuda, numpy")
      ->capture_default_str();
  command.add_option("--width", flags.width, "of a picture, in pixels (default: what the model was made for)");
  command.add_option("--height", flags.height, "of a picture, in pixels");
  command.add_option("--batch", flags.batch, "how many pictures, with seeds S, S+1 ...")->capture_default_str();
  command.add_option("--clip-skip", flags.clip_skip, "layers of the text encoder to leave out at the end");
  command.add_option("--image", flags.image, "picture to begin with");
  command.add_option("--mask", flags.mask, "white where the picture is painted anew");
  command.add_option("--strength", flags.strength, "0 to 1: how far to go from --image (default: 0.8, with --mask 1)");
  command.add_option("-o,--output", flags.output, "file of the picture: .png, .jpg, .webp")->capture_default_str();
  command.add_option("--quality", flags.quality, "1 to 100, of .jpg and .webp (100: lossless)")->capture_default_str();
  command.add_option("--like", flags.like, "picture whose settings are taken where nothing else is asked for");
  command.add_option("--contact-sheet", flags.contact_sheet, "write a batch in one picture too, so many columns");
  command.add_option("--dump-latents", flags.dump_latents, "write the last latents to this .npy file");
  command.add_option("--variant", flags.variant, "of a diffusers folder's weight files: fp16");
  command.add_option("--vae", flags.vae, "folder of another autoencoder");
  command.add_option("--tokenizer", flags.tokenizer, "of a single file: folder with CLIP's vocab.json and merges.txt");
  command.add_option("--prediction", flags.prediction,
                     "of a single file: epsilon or v_prediction, where it cannot be told");
  command.add_flag(
      "--plain-prompt", flags.plain_prompt,
      "read brackets as text and cut long prompts off, as diffusers; else (word:1.3), [word] and BREAK count");
  command.add_flag("--no-safety-checker", flags.no_safety_checker,
                   "run a pipeline without the classifier it was published with, which hides pictures it finds unsafe");
}

Exit run_pictures(PictureRun run, PictureFlags flags, const Output& output) {
  check_output(flags);
  if (!flags.like.empty()) take_settings(settings_of(flags.like), run, flags);
  if (!run.seed) run.seed = std::random_device()();
  PictureModel model = open_picture_model(
      run.model,
      {.variant = flags.variant, .vae = flags.vae, .tokenizer = flags.tokenizer, .prediction = flags.prediction},
      run.check, run.precision);
  for (const std::string& note : model.notes) output.note(note);
  const contract::Pictures contract = model.contract;
  if (contract.safety_checker && !flags.no_safety_checker) {
    fail(ErrorCode::unsupported,
         "the pipeline was published with a safety checker, which is not built yet; --no-safety-checker runs it "
         "without");
  }
  const pipeline::PictureRequest request = make_request(run, flags, contract.latent_scale);
  const auto diffuser = open_diffuser(std::move(model), {.graph = run.graph});
  const ProgressSink progress = output.progress(ProgressUnit::steps);
  const auto on_step = [&](int step, int steps, std::span<const float>) {
    if (progress) progress({.step = "denoising", .done_bytes = uint64_t(step), .total_bytes = uint64_t(steps)});
    return true;
  };
  const pipeline::PictureResult result = diffuser->run(request, on_step);
  output.end_progress();
  for (const std::string& note : result.notes) output.note(note);
  const Json files = write_pictures(request, flags, result, contract.name, output);
  const double unet_ms = std::accumulate(result.step_ms.begin(), result.step_ms.end(), 0.0),
               calls = double(result.step_ms.size());
  const MemoryUse memory = memory_use();
  output.note(
      fmt::format("{} x {}, {} {} steps, guidance {:g}, seed {}: {:.0f} ms a step, text {:.0f} ms, decode {:.0f} ms, "
                  "loaded in {:.0f} ms, {:.0f} MB of memory",
                  result.width, result.height, result.steps, result.scheduler.class_name, result.guidance, request.seed,
                  unet_ms / std::max(1.0, calls), result.text_ms, result.decode_ms, result.load_ms,
                  double(memory.peak_rss_bytes) / 1e6));
  output.result({{"pictures", files},
                 {"width", result.width},
                 {"height", result.height},
                 {"steps", result.steps},
                 {"guidance", result.guidance},
                 {"scheduler", result.scheduler.class_name},
                 {"notes", result.notes},
                 {"timings",
                  {{"load_ms", result.load_ms},
                   {"text_ms", result.text_ms},
                   {"encode_ms", result.encode_ms},
                   {"steps_ms", result.step_ms},
                   {"decode_ms", result.decode_ms}}},
                 {"memory", memory_json(memory)}});
  return Exit::good;
}

}  // namespace lathe::cli
