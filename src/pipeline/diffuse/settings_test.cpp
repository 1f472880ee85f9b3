// Settings are written in the web UI's form, and its texts are read.
#include "pipeline/diffuse/settings.h"

#include <gtest/gtest.h>

#include <random>

#include "contract/scheduler.h"

namespace lathe::pipeline {
namespace {

PictureSettings example() {
  PictureSettings settings;
  settings.prompt = "a (red:1.3) circle,\non white";
  settings.negative_prompt = "blurry, low quality";
  settings.steps = 20;
  settings.scheduler = "dpm++2m_karras";
  settings.guidance = 7.5;
  settings.seed = 18446744073709551615u;
  settings.width = 512;
  settings.height = 768;
  settings.strength = 0.75;
  settings.clip_skip = 1;
  settings.guidance_rescale = 0.7;
  settings.noise = "torch";
  settings.own_scheduler = true;
  settings.model = "shapes, small: \"one\"";
  settings.model_hash = "1238522277";
  settings.version = "lathe 0.1.0";
  settings.others = {{"Lathe LoRA", "a, b"}};
  return settings;
}

TEST(Settings, TheTextOfTheWebUi) {
  EXPECT_EQ(write_settings(example()),
            "a (red:1.3) circle,\non white\n"
            "Negative prompt: blurry, low quality\n"
            "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, Sampler setup: model, CFG scale: 7.5, Seed: "
            "18446744073709551615, "
            "Size: 512x768, Model hash: 1238522277, Model: \"shapes, small: \\\"one\\\"\", Denoising strength: 0.75, "
            "Clip skip: 2, CFG rescale: 0.7, RNG: CPU, Lathe LoRA: \"a, b\", Version: lathe 0.1.0");
}

TEST(Settings, ThereAndBack) {
  EXPECT_EQ(read_settings(write_settings(example())), example());
  for (const std::string& name : contract::scheduler_names()) {
    PictureSettings settings = example();
    settings.scheduler = name;
    EXPECT_EQ(read_settings(write_settings(settings)), settings) << name;
  }
  PictureSettings plain;
  plain.steps = 1;
  plain.seed = 0;
  plain.guidance = 1;
  EXPECT_EQ(read_settings(write_settings(plain)), plain);  // an empty prompt
}

TEST(Settings, TextsOfOthersAreRead) {
  const PictureSettings old = read_settings(
      "masterpiece, a cat\nNegative prompt: bad\nhands\nSteps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, "
      "Seed: 42, Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, ENSD: 31337, "
      "Lora hashes: \"x: 1, y: 2\", Version: v1.6.0");
  EXPECT_EQ(old.prompt, "masterpiece, a cat");
  EXPECT_EQ(old.negative_prompt, "bad\nhands");
  EXPECT_EQ(old.scheduler, "dpm++2m_karras");
  EXPECT_EQ(old.steps, 28);
  EXPECT_EQ(old.clip_skip, 1);
  EXPECT_EQ(old.others,
            (std::vector<std::pair<std::string, std::string>>{{"ENSD", "31337"}, {"Lora hashes", "x: 1, y: 2"}}));

  const PictureSettings unknown =
      read_settings("a\nSteps: many, Sampler: Restart, Schedule type: Uniform, Seed: -1, Size: 5by5, CFG scale: 7");
  EXPECT_EQ(unknown.scheduler, "");
  EXPECT_EQ(unknown.guidance, 7);
  EXPECT_EQ(unknown.steps, std::nullopt);
  EXPECT_EQ(unknown.others.size(), 5u);
  EXPECT_EQ(read_settings(write_settings(unknown)), unknown);

  const PictureSettings only = read_settings("a prompt: with a colon, and a comma");
  EXPECT_EQ(only.prompt, "a prompt: with a colon, and a comma");
  EXPECT_TRUE(only.others.empty());
  EXPECT_EQ(read_settings(""), PictureSettings());
}

TEST(Settings, AnyTextIsRead) {
  std::mt19937 random(3);
  const std::string whole = write_settings(example());
  for (size_t size = 0; size <= whole.size(); ++size) read_settings(whole.substr(0, size));
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 1 + i % 5; ++k) damaged[random() % damaged.size()] = char(random());
    read_settings(damaged);
  }
  read_settings(std::string(1 << 20, ','));
  read_settings("a\n" + std::string(1 << 20, '"'));
}

}  // namespace
}  // namespace lathe::pipeline
