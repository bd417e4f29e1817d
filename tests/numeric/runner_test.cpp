// The native runner on exported models against transformers: the same logits with pictures and over
// turns, whatever was read and taken back in between, and the same tokens.
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "base/file.hpp"
#include "json/document.hpp"
#include "runtime/engine.hpp"

#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace deltavino::test {
namespace {

namespace fs = std::filesystem;
using runtime::Engine;
using runtime::Patches;
using runtime::PictureRows;

constexpr double kBound = 1e-5;  // of the largest logit

const fs::path kExample = fs::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny";

// Both exports of the bundled checkpoint, made once.
const fs::path& model_directory(bool vision) {
    static const TemporaryDirectory directory;
    static const fs::path paths[2] = {directory.path() / "text", directory.path() / "vision"};
    const fs::path& path = paths[vision ? 1 : 0];
    if (!fs::exists(path)) {
        ExportOptions options;
        options.model = kExample;
        options.output = path;
        options.task = vision ? "image-text-to-text" : "text-generation-with-past";
        SilentProgress progress;
        export_model(options, progress);
    }
    return path;
}

Engine& vision_engine() {
    static Engine engine(model_directory(true), {"CPU", "f32"});
    engine.reset();
    return engine;
}

const Golden& prompts() {
    static const Golden golden = read_golden(golden_directory("vision") / "kjv-tiny.prompts.safetensors");
    return golden;
}

Json read_json(const char* name) {
    return parse_json(read_text_file(golden_directory("kjv-tiny") / name), name);
}

std::vector<PictureRows> pictures_of(Engine& engine, const std::string& prefix) {
    std::vector<PictureRows> pictures;
    const auto grids = prompts().find(prefix + "image_grid_thw");
    if (grids == prompts().end()) {
        return pictures;
    }
    const std::vector<float>& values = prompts().at(prefix + "pixel_values").floats;
    const std::size_t width = prompts().at(prefix + "pixel_values").dim(1);
    std::size_t begin = 0;
    for (std::size_t i = 0; i < grids->second.integers.size(); i += 3) {
        Patches patches;
        patches.grid = {static_cast<std::uint32_t>(grids->second.integers[i + 1]),
                        static_cast<std::uint32_t>(grids->second.integers[i + 2])};
        const auto from = values.begin() + static_cast<std::ptrdiff_t>(begin * width);
        patches.values.assign(from, from + static_cast<std::ptrdiff_t>(patches.grid.patches() * width));
        begin += patches.grid.patches();
        pictures.push_back(engine.look_at(patches));
    }
    return pictures;
}

std::vector<float> copy(std::span<const float> values) {
    return {values.begin(), values.end()};
}

void expect_logits(std::span<const float> logits, const std::vector<float>& expected) {
    EXPECT_LT(relative_error(copy(logits), expected), kBound);
}

TEST(Engine, LooksAtPicturesAsTransformers) {
    const Golden tower = read_golden(golden_directory("vision") / "kjv-tiny.tower.safetensors");
    for (const std::string prefix : {"one.", "wide."}) {
        const auto& thw = tower.at(prefix + "grid_thw").integers;
        Patches patches;
        patches.grid = {static_cast<std::uint32_t>(thw[1]), static_cast<std::uint32_t>(thw[2])};
        patches.values = tower.at(prefix + "pixel_values").floats;
        EXPECT_LT(relative_error(vision_engine().look_at(patches).rows, tower.at(prefix + "merged").floats), kBound)
            << prefix;
    }
}

TEST(Engine, PromptsAndDecodedTokensGiveTheLogitsOfTransformers) {
    for (const std::string prefix : {"text.", "picture."}) {
        SCOPED_TRACE(prefix);
        Engine& engine = vision_engine();
        const auto pictures = pictures_of(engine, prefix);
        expect_logits(engine.feed(prompts().at(prefix + "input_ids").integers, pictures),
                      prompts().at(prefix + "logits").floats);
        const auto& next = prompts().at(prefix + "next_ids").integers;
        const auto& expected = prompts().at(prefix + "next_logits");
        const auto vocabulary = static_cast<std::ptrdiff_t>(expected.dim(2));
        for (std::size_t i = 0; i < next.size(); ++i) {
            const auto begin = expected.floats.begin() + static_cast<std::ptrdiff_t>(i) * vocabulary;
            expect_logits(engine.feed({next[i]}, {}), {begin, begin + vocabulary});
        }
    }
}

TEST(Engine, ASecondTurnWithAPictureGoesOnFromTheFirst) {
    Engine& engine = vision_engine();
    engine.feed(prompts().at("turn.first_ids").integers, pictures_of(engine, "turn.first."));
    expect_logits(engine.feed(prompts().at("turn.second_ids").integers, pictures_of(engine, "turn.second.")),
                  prompts().at("turn.logits").floats);
}

TEST(Engine, WhatIsTakenBackLeavesNoTrace) {
    Engine& engine = vision_engine();
    engine.feed(prompts().at("turn.first_ids").integers, pictures_of(engine, "turn.first."));
    const Engine::Place place = engine.mark();
    engine.feed(prompts().at("picture.input_ids").integers, pictures_of(engine, "picture."));
    for (int i = 0; i < 5; ++i) {
        engine.feed({30 + i}, {});
    }
    engine.rewind(place);
    EXPECT_EQ(engine.history(), prompts().at("turn.first_ids").integers);
    expect_logits(engine.feed(prompts().at("turn.second_ids").integers, pictures_of(engine, "turn.second.")),
                  prompts().at("turn.logits").floats);
}

// A conversation in pieces, with what thinking left taken back, against the whole history read at once.
void check_conversation(Engine& engine, double bound) {
    const std::string first = "<|im_start|>user\nWho was Moses?<|im_end|>\n";
    const std::string said =
        "<|im_start|>assistant\n<think>\nLet me see, he was of the house of Levi.\n</think>\n\nA man of God.";
    const std::string replay = "<|im_start|>assistant\nA man of God.<|im_end|>\n";
    const std::string second = "<|im_start|>user\nAnd Aaron?<|im_end|>\n<|im_start|>assistant\n";
    engine.reset();
    const std::vector<float> whole = copy(engine.feed(engine.encode(first + replay + second, {}), {}));
    const std::vector<std::int64_t> history = engine.history();
    engine.reset();
    engine.feed(engine.encode(first, {}), {});
    const Engine::Place place = engine.mark();
    for (const std::int64_t id : engine.encode(said, {})) {
        engine.feed({id}, {});
    }
    engine.rewind(place);
    engine.feed(engine.encode(replay, {}), {});
    EXPECT_LT(relative_error(copy(engine.feed(engine.encode(second, {}), {})), whole), bound);
    EXPECT_EQ(engine.history(), history);
}

TEST(Engine, AConversationInPiecesIsTheWholeHistory) {
    Engine text(model_directory(false), {"CPU", "f32"});
    check_conversation(text, kBound);
    check_conversation(vision_engine(), kBound);
    // As the device likes it: rounded states are cut back and go on, too.
    Engine rounded(model_directory(false), {"CPU", ""});
    check_conversation(rounded, 0.05);
}

TEST(Engine, ComputesTheLogitsOfTheLastTokenOnly) {
    for (const bool vision : {false, true}) {
        const auto model =
            read_model(model_directory(vision) / (vision ? "openvino_language_model.xml" : "openvino_model.xml"));
        EXPECT_TRUE(model->output("logits").get_partial_shape()[1].is_dynamic());
        runtime::keep_last_token(model);
        EXPECT_EQ(model->output("logits").get_partial_shape()[1].get_max_length(), 1);
    }
}

TEST(Engine, RefusesWhatDoesNotFit) {
    const auto kind = [](auto call) {
        try {
            call();
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::Internal;
    };
    Engine text(model_directory(false), {"CPU", "f32"});
    EXPECT_EQ(kind([&] { text.look_at(kExample / "pictures" / "red-circle-on-blue.png"); }), ErrorKind::Unsupported);
    EXPECT_EQ(kind([&] { vision_engine().encode("<|image_pad|>", {}); }), ErrorKind::Usage);
    EXPECT_EQ(kind([&] { Engine(kExample, {"CPU", ""}); }), ErrorKind::Input);
    EXPECT_EQ(kind([&] { Engine(kExample / "absent", {"CPU", ""}); }), ErrorKind::Input);
    EXPECT_EQ(kind([&] { Engine(model_directory(false), {"NOSUCH", ""}); }), ErrorKind::Unsupported);
    EXPECT_EQ(kind([&] { Engine(model_directory(false), {"CPU", "f64"}); }), ErrorKind::Usage);
}

RunnerOptions exact(bool vision) {
    RunnerOptions options;
    options.model = model_directory(vision);
    options.precision = "f32";
    return options;
}

TEST(Runner, ContinuesTextAsTransformers) {
    const Json golden = read_json("greedy.json");
    for (const bool vision : {false, true}) {
        SilentProgress progress;
        Runner runner(exact(vision), progress);
        EXPECT_EQ(runner.takes_pictures(), vision);
        GenerateOptions options;
        options.max_new_tokens = golden.at("new_tokens").get<std::uint64_t>();
        options.ignore_eos = true;
        std::size_t checked = 0;
        for (const char* group : {"single", "batch"}) {
            for (const Json& entry : golden.at(group)) {
                std::string streamed;
                const Answer answer = runner.complete({entry.at("prompt_text").get<std::string>(), {}}, options,
                                                      [&](std::string_view piece) { streamed += piece; });
                EXPECT_EQ(answer.prompt_ids, entry.at("prompt_ids").get<Ids>());
                EXPECT_EQ(answer.ids, entry.at("continuation_ids").get<Ids>());
                EXPECT_EQ(answer.text, entry.at("continuation_text").get<std::string>());
                EXPECT_EQ(streamed, answer.text);
                EXPECT_EQ(answer.finish, FinishReason::Length);
                checked += 1;
            }
        }
        EXPECT_EQ(checked, 6u);
        EXPECT_TRUE(progress.notes.empty());
    }
}

Question question_of(const Json& message, std::vector<fs::path>& files) {
    Question question;
    if (message.at("content").is_string()) {
        question.text = message.at("content").get<std::string>();
        return question;
    }
    for (const Json& part : message.at("content")) {
        if (part.at("type").get<std::string>() == "image") {
            question.pictures.push_back(files.front());
            files.erase(files.begin());
        } else {
            question.text += part.at("text").get<std::string>();
        }
    }
    return question;
}

TEST(Runner, AnswersAboutPicturesAsTransformers) {
    SilentProgress progress;
    Runner runner(exact(true), progress);
    const Json golden = read_json("vision.json");
    for (const Json& chat : golden.at("chats")) {
        SCOPED_TRACE(chat.at("name").get<std::string>());
        std::vector<fs::path> files;
        for (const Json& file : chat.at("pictures")) {
            files.push_back(kExample / file.get<std::string>());
        }
        runner.begin(std::nullopt);
        Answer answer;
        std::vector<std::string> said;
        for (const Json& message : chat.at("messages")) {
            if (message.at("role").get<std::string>() == "user") {
                answer = runner.ask(question_of(message, files), {}, nullptr);
                said.push_back(answer.text);
            } else {
                const Json& content = message.at("content");
                ASSERT_EQ(said.back(), content.is_string() ? content.get<std::string>()
                                                           : content.at(0).at("text").get<std::string>());
            }
        }
        EXPECT_EQ(answer.ids, chat.at("answer_ids").get<Ids>());
        EXPECT_EQ(answer.finish, FinishReason::EndOfSequence);
        // What was fed last is the end of the whole prompt; all before it stood in the states.
        const std::string prompt = chat.at("prompt_text").get<std::string>();
        const Ids ids = chat.at("prompt_ids").get<Ids>();
        ASSERT_EQ(answer.context_tokens + answer.prompt_ids.size(), ids.size());
        EXPECT_TRUE(std::equal(answer.prompt_ids.rbegin(), answer.prompt_ids.rend(), ids.rbegin()));
        EXPECT_TRUE(prompt.ends_with(answer.prompt));
        EXPECT_EQ(answer.context_tokens > 0, said.size() > 1);
    }
    EXPECT_TRUE(progress.notes.empty());
}

TEST(Runner, AWrongPictureLeavesTheConversation) {
    SilentProgress progress;
    Runner runner(exact(true), progress);
    const Question first{"What is in the picture?", {kExample / "pictures" / "red-circle-on-blue.png"}};
    const Question second{"What is in the picture?", {kExample / "pictures" / "green-square-on-white.png"}};
    runner.ask(first, {}, nullptr);
    const Ids expected = runner.ask(second, {}, nullptr).ids;
    runner.begin(std::nullopt);
    EXPECT_FALSE(runner.remembers());
    runner.ask(first, {}, nullptr);
    EXPECT_THROW(runner.ask({"And this?", {kExample / "config.json"}}, {}, nullptr), Error);
    EXPECT_THROW(runner.ask({"<|image_pad|>", {}}, {}, nullptr), Error);
    EXPECT_THROW(runner.ask({"\xff", {}}, {}, nullptr), Error);
    GenerateOptions wrong;
    wrong.top_p = 2.0;
    EXPECT_THROW(runner.ask(second, wrong, nullptr), Error);
    EXPECT_TRUE(runner.remembers());
    EXPECT_EQ(runner.ask(second, {}, nullptr).ids, expected);
}

TEST(Runner, AFailureWhileReadingBeginsAnew) {
    SilentProgress progress;
    Runner runner(exact(true), progress);
    const Question question{"What is in the picture?", {kExample / "pictures" / "red-circle-on-blue.png"}};
    const Answer expected = runner.ask(question, {}, nullptr);
    const auto broken = [](std::string_view) {
        throw std::runtime_error("the sink is full");
    };
    EXPECT_THROW(runner.ask({"And?", {}}, {}, broken), std::runtime_error);
    EXPECT_FALSE(runner.remembers());
    const Answer again = runner.ask(question, {}, nullptr);
    EXPECT_EQ(again.context_tokens, 0u);
    EXPECT_EQ(again.prompt_ids, expected.prompt_ids);
    EXPECT_EQ(again.ids, expected.ids);
}

TEST(Runner, GoesOnPastTheEndWhenAsked) {
    SilentProgress progress;
    Runner runner(exact(true), progress);
    const Question question{"What is in the picture?", {kExample / "pictures" / "red-circle-on-blue.png"}};
    const Ids stopped = runner.ask(question, {}, nullptr).ids;
    runner.begin(std::nullopt);
    GenerateOptions options;
    options.ignore_eos = true;
    options.max_new_tokens = stopped.size() + 3;
    const Answer answer = runner.ask(question, options, nullptr);
    EXPECT_EQ(answer.finish, FinishReason::Length);
    ASSERT_EQ(answer.ids.size(), stopped.size() + 3);
    EXPECT_TRUE(std::equal(stopped.begin(), stopped.end(), answer.ids.begin()));
}

TEST(Runner, SamplesTheSameForTheSameSeed) {
    SilentProgress progress;
    Runner runner(exact(false), progress);
    GenerateOptions options;
    options.temperature = 1.0;
    options.max_new_tokens = 20;
    options.ignore_eos = true;
    const auto ids = [&](std::uint64_t seed) {
        options.seed = seed;
        return runner.complete({"And the LORD said", {}}, options, nullptr).ids;
    };
    const Ids first = ids(1);
    EXPECT_EQ(ids(1), first);
    EXPECT_NE(ids(2), first);
}

TEST(Runner, RendersAnyTemplateAndNamesOneThatItCannot) {
    TemporaryDirectory copy;
    fs::copy(model_directory(false), copy.path(), fs::copy_options::recursive);
    RunnerOptions options = exact(false);
    options.model = copy.path();
    SilentProgress progress;
    GenerateOptions short_answer;
    short_answer.max_new_tokens = 1;
    write_text_file(copy.path() / "chat_template.jinja",
                    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] ");
    {
        Runner runner(options, progress);
        EXPECT_EQ(runner.ask({"one", {}}, short_answer, nullptr).prompt, "[user] one\n[assistant] ");
        const Answer second = runner.ask({"two", {}}, short_answer, nullptr);
        EXPECT_TRUE(second.prompt.ends_with("[user] two\n[assistant] ")) << second.prompt;
    }
    write_text_file(copy.path() / "chat_template.jinja", "{% include 'x' %}");
    Runner runner(options, progress);
    runner.complete({"raw", {}}, short_answer, nullptr);  // a plain continuation needs no template
    EXPECT_THROW(runner.ask({"one", {}}, short_answer, nullptr), Error);
    EXPECT_TRUE(progress.notes.empty());
}

}  // namespace
}  // namespace deltavino::test
