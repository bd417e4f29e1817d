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
#include <functional>
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
            expect_logits(engine.feed(Ids{next[i]}, {}), {begin, begin + vocabulary});
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
        engine.feed(Ids{30 + i}, {});
    }
    engine.rewind(place);
    EXPECT_EQ(engine.history(), prompts().at("turn.first_ids").integers);
    expect_logits(engine.feed(prompts().at("turn.second_ids").integers, pictures_of(engine, "turn.second.")),
                  prompts().at("turn.logits").floats);
}

// Reads a prompt with pictures in pieces of some size: the logits, and those of some tokens after it.
std::vector<float> logits_in_pieces(std::size_t piece, bool vision, const Ids& ids, const std::string& prefix) {
    Engine engine(model_directory(vision), {"CPU", "f32"}, piece);
    std::vector<float> all = copy(engine.feed(ids, vision ? pictures_of(engine, prefix) : std::vector<PictureRows>()));
    EXPECT_EQ(engine.history(), ids);
    for (const std::int64_t id : Ids{30, 31, 32}) {
        const std::vector<float> next = copy(engine.feed(Ids{id}, {}));
        all.insert(all.end(), next.begin(), next.end());
    }
    return all;
}

// The borders of the pieces fall into pictures, between two of them and between tokens of text.
TEST(Engine, APromptInPiecesGivesTheLogitsOfTheWhole) {
    constexpr double kPieceBound = 1e-4;
    const Ids& text = prompts().at("text.input_ids").integers;
    const Ids& picture = prompts().at("picture.input_ids").integers;
    const std::vector<float> whole_text = logits_in_pieces(text.size(), false, text, "");
    const std::vector<float> whole_picture = logits_in_pieces(picture.size(), true, picture, "picture.");
    EXPECT_GT(picture.size(), 10u);
    for (const std::size_t piece : {1, 2, 3, 5, 7, 16}) {
        SCOPED_TRACE(piece);
        EXPECT_LT(relative_error(logits_in_pieces(piece, false, text, ""), whole_text), kPieceBound);
        EXPECT_LT(relative_error(logits_in_pieces(piece, true, picture, "picture."), whole_picture), kPieceBound);
    }
}

TEST(Engine, PiecesLeaveAPlaceToComeBackTo) {
    Engine engine(model_directory(true), {"CPU", "f32"}, 3);
    engine.feed(prompts().at("turn.first_ids").integers, pictures_of(engine, "turn.first."));
    const Engine::Place place = engine.mark();
    engine.feed(prompts().at("picture.input_ids").integers, pictures_of(engine, "picture."));
    engine.rewind(place);
    expect_logits(engine.feed(prompts().at("turn.second_ids").integers, pictures_of(engine, "turn.second.")),
                  prompts().at("turn.logits").floats);
}

// Stops at the nth question whether to stop.
struct StopAt {
    int n = 0;
    bool operator()() { return --n < 0; }
};

bool cancelled(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Cancelled) << error.what();
        return true;
    }
    return false;
}

TEST(Engine, ReadingStopsBetweenAndWithinPieces) {
    Engine engine(model_directory(true), {"CPU", "f32"}, 5);
    engine.feed(prompts().at("turn.first_ids").integers, pictures_of(engine, "turn.first."));
    const Engine::Place place = engine.mark();
    const auto pictures = pictures_of(engine, "picture.");
    for (const int n : {0, 1, 2, 3, 5}) {  // before the first piece, in it, between it and the second, ...
        SCOPED_TRACE(n);
        EXPECT_TRUE(cancelled([&] { engine.feed(prompts().at("picture.input_ids").integers, pictures, StopAt{n}); }));
        engine.rewind(place);
        EXPECT_EQ(engine.history(), prompts().at("turn.first_ids").integers);
    }
    expect_logits(engine.feed(prompts().at("turn.second_ids").integers, pictures_of(engine, "turn.second.")),
                  prompts().at("turn.logits").floats);
    // A single token is not worth asking for, and one that is not stopped is read.
    EXPECT_FALSE(cancelled([&] { engine.feed(Ids{30}, {}, StopAt{0}); }));
    engine.reset();
    EXPECT_FALSE(cancelled([&] { engine.feed(Ids{30, 31}, {}, StopAt{1000000}); }));
}

TEST(Engine, LookingStopsToo) {
    Engine& engine = vision_engine();
    const fs::path picture = kExample / "pictures" / "red-circle-on-blue.png";
    const std::vector<float> rows = engine.look_at(picture).rows;
    for (const int n : {0, 1, 2, 3, 4}) {
        EXPECT_TRUE(cancelled([&] { engine.look_at(picture, StopAt{n}); })) << n;
    }
    EXPECT_EQ(engine.look_at(picture).rows, rows);
}

// A directory like the exported one whose key and value states hold 40 tokens.
fs::path bounded_directory(const TemporaryDirectory& target) {
    fs::copy(model_directory(false), target.path(), fs::copy_options::recursive);
    const auto model = read_model(model_directory(false) / "openvino_model.xml");
    for (const auto& variable : model->get_variables()) {
        ov::op::util::VariableInfo info = variable->get_info();
        const bool key_or_value = info.variable_id.find(".key.") != std::string::npos ||
                                  info.variable_id.find(".value.") != std::string::npos;
        if (key_or_value) {
            info.data_shape[2] = ov::Dimension(0, 40);
            variable->update(info);
        }
    }
    ov::save_model(model, target.path() / "openvino_model.xml", false);
    return target.path();
}

TEST(Engine, SaysWhatTheStatesHold) {
    const TemporaryDirectory target;
    Engine engine(bounded_directory(target), {"CPU", "f32"});
    EXPECT_EQ(engine.capacity(), 40u);
    EXPECT_FALSE(vision_engine().capacity());
    engine.feed(Ids(39, 30), {});
    try {
        engine.feed(Ids{30, 31}, {});
        FAIL() << "read more than the states hold";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Input);
        EXPECT_NE(std::string(error.what()).find("cannot read 41 tokens: the states of the model hold 40"),
                  std::string::npos)
            << error.what();
    }
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
        engine.feed(Ids{id}, {});
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
    try {
        runner.ask({"And?", {}}, {}, broken);
        FAIL() << "nothing was thrown";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Output);
        EXPECT_STREQ(error.what(), "cannot hand out the answer: the sink is full");
    }
    EXPECT_FALSE(runner.remembers());
    const Answer again = runner.ask(question, {}, nullptr);
    EXPECT_EQ(again.context_tokens, 0u);
    EXPECT_EQ(again.prompt_ids, expected.prompt_ids);
    EXPECT_EQ(again.ids, expected.ids);
}

// Asks to stop at the nth question, then no more.
class StoppingProgress : public SilentProgress {
public:
    int n = -1;
    bool cancelled() override { return n >= 0 && n-- == 0; }
};

TEST(Runner, AStoppedQuestionLeavesTheConversation) {
    StoppingProgress progress;
    Runner runner(exact(true), progress);
    const Question first{"What is in the picture?", {kExample / "pictures" / "red-circle-on-blue.png"}};
    const Question second{"What is in the picture?", {kExample / "pictures" / "green-square-on-white.png"}};
    runner.ask(first, {}, nullptr);
    const Answer expected = runner.ask(second, {}, nullptr);
    runner.begin(std::nullopt);
    // At least five questions belong to the picture, two to the turn, two to the opening of the answer.
    for (const int n : {0, 4, 6, 8}) {
        progress.n = n;
        const Answer stopped = runner.ask(first, {}, nullptr);
        EXPECT_EQ(stopped.finish, FinishReason::Cancelled);
        EXPECT_TRUE(stopped.ids.empty());
        EXPECT_FALSE(runner.remembers());
    }
    runner.ask(first, {}, nullptr);
    for (const int n : {0, 4, 6, 8}) {
        progress.n = n;
        EXPECT_EQ(runner.ask(second, {}, nullptr).finish, FinishReason::Cancelled);
        EXPECT_TRUE(runner.remembers());
    }
    const Answer answer = runner.ask(second, {}, nullptr);
    EXPECT_EQ(answer.prompt_ids, expected.prompt_ids);
    EXPECT_EQ(answer.ids, expected.ids);
}

TEST(Runner, AStoppedAnswerIsPartOfTheConversation) {
    StoppingProgress progress;
    Runner runner(exact(false), progress);
    GenerateOptions options;
    options.ignore_eos = true;
    const TextSink stop_at_once = [&progress](std::string_view) {
        progress.n = 0;
    };
    const Answer stopped = runner.ask({"And the LORD", {}}, options, stop_at_once);
    EXPECT_EQ(stopped.finish, FinishReason::Cancelled);
    EXPECT_FALSE(stopped.ids.empty());
    EXPECT_LT(stopped.ids.size(), 5u);
    options.max_new_tokens = 1;
    const Answer next = runner.ask({"And?", {}}, options, nullptr);
    EXPECT_NE(next.prompt.find("<|im_start|>assistant\n" + stopped.text + "<|im_end|>"), std::string::npos)
        << next.prompt;
}

// A copy of the exported directory with another generation_config.json or config.json.
fs::path changed_directory(const TemporaryDirectory& target, const char* name, const std::string& text) {
    fs::copy(model_directory(false), target.path(), fs::copy_options::recursive);
    write_text_file(target.path() / name, text);
    return target.path();
}

TEST(Runner, SaysOnceWhenATextIsLongerThanTheModelWasMadeFor) {
    TemporaryDirectory copy;
    RunnerOptions options = exact(false);
    options.model = changed_directory(copy, "config.json", R"({"max_position_embeddings": 20})");
    SilentProgress progress;
    Runner runner(options, progress);
    GenerateOptions short_answer;
    short_answer.max_new_tokens = 2;
    short_answer.ignore_eos = true;
    runner.complete({"In the", {}}, short_answer, nullptr);
    EXPECT_TRUE(progress.notes.empty());
    runner.complete({"one two three four five six seven eight nine ten eleven twelve thirteen fourteen", {}},
                    short_answer, nullptr);
    runner.complete({"one two three four five six seven eight nine ten eleven twelve thirteen fourteen", {}},
                    short_answer, nullptr);
    ASSERT_EQ(progress.notes.size(), 1u);
    EXPECT_NE(progress.notes.front().find("more than the 20 that the model was made for"), std::string::npos);
}

TEST(Runner, EndsAtStopStringsAndLengthsOfTheFile) {
    TemporaryDirectory copy;
    RunnerOptions options = exact(false);
    options.model = changed_directory(copy, "generation_config.json", R"({"eos_token_id": 4096, "max_length": 12})");
    SilentProgress progress;
    Runner runner(options, progress);
    const Answer whole = runner.complete({"In the beginning", {}}, {}, nullptr);
    EXPECT_EQ(whole.finish, FinishReason::Length);
    EXPECT_EQ(whole.prompt_ids.size() + whole.ids.size(), 12u);
    GenerateOptions stopping;
    ASSERT_GT(whole.text.size(), 8u);
    stopping.stop_strings = {whole.text.substr(2, 4)};
    const Answer stopped = runner.complete({"In the beginning", {}}, stopping, nullptr);
    EXPECT_EQ(stopped.finish, FinishReason::StopString);
    EXPECT_LT(stopped.ids.size(), whole.ids.size());
    EXPECT_TRUE(whole.text.starts_with(stopped.text));
    EXPECT_NE(stopped.text.find(stopping.stop_strings.front()), std::string::npos);
    try {
        runner.complete({"one two three four five six seven eight nine ten eleven twelve thirteen", {}}, {}, nullptr);
        FAIL() << "nothing was thrown";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("'max_length' of generation_config.json allows 12"), std::string::npos)
            << error.what();
    }
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
