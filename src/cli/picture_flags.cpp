#include "cli/picture_flags.h"

#include <filesystem>

#include "base/error.h"

namespace lathe::cli {

namespace fs = std::filesystem;

namespace {

// --lora F[:SCALE] and --embedding [NAME=]F, each as often as one likes.
void add_part_flags(CLI::App& command, frontend::PictureParts& parts) {
  using Texts = std::vector<std::string>;
  command
      .add_option_function<Texts>(
          "--lora",
          [&parts](const Texts& texts) {
            for (const std::string& text : texts) parts.loras.push_back(frontend::parse_lora(text));
          },
          "of a picture pipeline: F or F:SCALE, a LoRA merged into the weights; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option_function<Texts>(
          "--embedding",
          [&parts](const Texts& texts) {
            for (const std::string& text : texts) parts.embeddings.push_back(frontend::parse_embedding(text));
          },
          "of a picture pipeline: F or NAME=F, a trained concept (textual inversion) that the prompt may name; may be "
          "repeated")
      ->allow_extra_args(false);
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
  add_pipeline_flags(command, flags.pipeline);
  command.add_flag(
      "--plain-prompt", flags.plain_prompt,
      "read brackets as text and cut long prompts off, as diffusers; else (word:1.3), [word] and BREAK count");
  command.add_option("--preview", flags.preview,
                     "every N steps write what the latents look like to F-preview.png of -o F.png");
  command
      .add_option("--compare", flags.compare,
                  "schedulers to compare, a,b,c or \"schedulers\" for all: a table, and a contact sheet under -o")
      ->delimiter(',');
  command.add_option("--reference-steps", flags.reference_steps, "of the picture that --compare measures from")
      ->capture_default_str();
  command.add_option("--show", flags.show, "draw pictures in the terminal: auto, kitty, iterm, sixel, off")
      ->capture_default_str();
  command.add_flag("--ignore-memory", flags.ignore_memory,
                   "begin although the run is predicted to take more memory than there is");
}

void add_pipeline_flags(CLI::App& command, frontend::PictureOptions& options) {
  command.add_option("--variant", options.variant, "of a diffusers folder's weight files: fp16");
  command.add_option("--vae", options.vae, "folder of another autoencoder");
  command.add_option("--tokenizer", options.tokenizer,
                     "of a single file: folder with CLIP's vocab.json and merges.txt");
  command.add_option("--prediction", options.prediction,
                     "of a single file: epsilon or v_prediction, where it cannot be told");
  add_part_flags(command, options.parts);
  command.add_flag("!--no-safety-checker", options.safety_checker,
                   "leave the classifier out that a pipeline was published with, which hides pictures it finds unsafe");
}

void check_picture_flags(const PictureFlags& flags) {
  const std::string extension = fs::path(flags.output).extension().string();
  if (extension != ".png" && extension != ".jpg" && extension != ".jpeg" && extension != ".webp") {
    fail(ErrorCode::usage, "-o {}: expected a name that ends in .png, .jpg, .jpeg or .webp", flags.output);
  }
  if (flags.quality < 1 || flags.quality > 100)
    fail(ErrorCode::usage, "--quality {}: expected 1 to 100", flags.quality);
  if (flags.contact_sheet < 0)
    fail(ErrorCode::usage, "--contact-sheet {}: expected a number of columns", flags.contact_sheet);
  if (!flags.compare.empty() && (flags.batch != 1 || !flags.scheduler.empty() || flags.preview > 0))
    fail(ErrorCode::usage, "--compare does not go with --batch, --scheduler and --preview");
  if (flags.reference_steps < 1)
    fail(ErrorCode::usage, "--reference-steps {}: expected at least 1", flags.reference_steps);
  if (flags.preview < 0) fail(ErrorCode::usage, "--preview {}: expected a number of steps", flags.preview);
  const auto at_least_one = [](const char* name, std::optional<int64_t> value) {
    if (value && *value < 1) fail(ErrorCode::usage, "--{} {}: expected at least 1", name, *value);
  };
  at_least_one("steps", flags.steps);
  at_least_one("width", flags.width);
  at_least_one("height", flags.height);
  if (flags.guidance && !(*flags.guidance >= 0))
    fail(ErrorCode::usage, "--guidance {}: expected 0 or more", *flags.guidance);
  if (flags.strength && !(*flags.strength >= 0))
    fail(ErrorCode::usage, "--strength {}: expected 0 to 1", *flags.strength);
}

}  // namespace lathe::cli
