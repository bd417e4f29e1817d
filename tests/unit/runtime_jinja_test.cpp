// The template renderer against what jinja2 made of the same input (tests/chat/generate.py), and what
// hostile templates and messages get.
#include "runtime/chat/jinja_template.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "json/document.hpp"

#include <gtest/gtest.h>

#include <string>

namespace deltavino::runtime {
namespace {

using jinja::from_json;
using jinja::Value;

RenderInput input_of(const Json& row, const Json& shared) {
    RenderInput input;
    input.messages = from_json(row.value("messages", Json::array()).dump(), "messages", true);
    input.tools = from_json(row.value("tools", Json()).dump(), "tools", true);
    input.add_generation_prompt = row.value("add_generation_prompt", true);
    const Json own = row.value("variables", Json::object());
    for (const auto& [name, value] : (own.is_string() ? shared : own).items()) {
        input.variables.emplace_back(name, from_json(value.dump(), name, false));
    }
    input.now.tm_year = 126;  // as tests/chat/reference.py
    input.now.tm_mon = 10;
    input.now.tm_mday = 25;
    input.now.tm_wday = 3;
    input.now.tm_yday = 328;
    input.now.tm_hour = 21;
    input.now.tm_min = 5;
    input.now.tm_sec = 7;
    return input;
}

TEST(ChatTemplate, RendersAsJinja2) {
    const auto path = std::filesystem::path(DELTAVINO_SOURCE_DIR) / "tests" / "chat" / "corpus.json";
    const Json corpus = parse_json(read_text_file(path), "corpus.json");
    std::size_t rendered = 0;
    std::size_t unsupported = 0;
    for (const Json& row : corpus.at("cases")) {
        const std::string text = row.at("template").get<std::string>();
        SCOPED_TRACE(text);
        try {
            const ChatTemplate parsed = ChatTemplate::parse(text, "the template");
            const RenderInput input = input_of(row, corpus.at("variables"));
            const std::string result = text_of(parsed.render(input));
            ASSERT_TRUE(row.at("expected").is_string()) << "jinja2 refuses this, we give " << result;
            EXPECT_EQ(result, row.at("expected").get<std::string>());
            EXPECT_EQ(text_of(parsed.render(input)), result);  // a parsed template keeps nothing
            rendered += 1;
        } catch (const Error& error) {
            unsupported += error.kind() == ErrorKind::Unsupported ? 1 : 0;
            if (error.kind() != ErrorKind::Unsupported) {
                EXPECT_EQ(error.kind(), ErrorKind::Input);
                EXPECT_TRUE(row.at("expected").is_null()) << error.what();
            }
        }
    }
    EXPECT_GT(rendered, 300u);
    EXPECT_LT(unsupported, 15u);
}

std::string render(const std::string& text, const std::string& messages = "[]") {
    RenderInput input;
    input.messages = from_json(messages, "messages", true);
    return text_of(ChatTemplate::parse(text, "the template").render(input));
}

void expect_error(ErrorKind kind, const std::string& message, const std::string& text,
                  const std::string& messages = "[]") {
    try {
        ADD_FAILURE() << text.substr(0, 100) << " gives " << render(text, messages).substr(0, 100);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
}

std::string repeated(const std::string& text, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) {
        all += text;
    }
    return all;
}

TEST(ChatTemplate, NamesTheLineOfWhatIsWrong) {
    expect_error(ErrorKind::Input, "cannot render the template, line 3: 'x' is undefined", "a\n\n{{ x.y }}");
    expect_error(ErrorKind::Input, "line 2: the template ends where 'endfor' is expected", "\n{% for a in b %}");
    expect_error(ErrorKind::Input, "line 1: '}}' is missing", "{{ a ");
    expect_error(ErrorKind::Input, "the template refuses this conversation: no", "{{ raise_exception('no') }}");
    expect_error(ErrorKind::Input, "line 2: there is no filter 'nosuch'", "\n{{ 1|nosuch }}");
    expect_error(ErrorKind::Input, "line 1: 'frob' is not a statement", "{% frob %}");
    for (const char* statement : {"include 'x'", "import 'x' as y", "extends 'x'", "from 'x' import y", "block b"}) {
        expect_error(ErrorKind::Unsupported, "line 2: the statement '", std::string("\n{% ") + statement + " %}");
    }
    expect_error(ErrorKind::Unsupported, "line 1: the filter 'urlize' is not supported", "{{ 'a'|urlize }}");
    expect_error(ErrorKind::Unsupported, "a recursive loop", "{% for a in [] recursive %}{% endfor %}");
}

TEST(ChatTemplate, WithoutAnEndEnds) {
    const std::string loop = "{% for a in range(99999) %}";
    expect_error(ErrorKind::Unsupported, "steps", loop + loop + "{% endfor %}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "levels deep", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    expect_error(ErrorKind::Unsupported, "bytes", "{{ 'x' * 9999999999 }}");
    expect_error(ErrorKind::Unsupported, "bytes", "{{ [1] * 9999999999 }}");
    expect_error(ErrorKind::Unsupported, "bytes",
                 "{% set n = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "bytes",
                 "{% for a in range(99999) %}" + std::string(2000, 'x') + "{% endfor %}");
    expect_error(ErrorKind::Unsupported, "nested",
                 "{% set n = namespace(l=[]) %}{% for a in range(9999) %}{% set n.l = [n.l] %}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "steps",
                 "{% set n = namespace(a=(1,)) %}{% for i in range(99) %}{% set n.a = (n.a, n.a) %}{% endfor %}"
                 "{{ {n.a: 1} }}");
    expect_error(ErrorKind::Unsupported, "bytes",
                 "{% set s = 'x' * 1000000 %}{% for i in range(99999) %}{{ {}.get(s) }}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "steps", "{% set s = '1' * 100000 %}" + loop + "{{ s|float }}{% endfor %}");
    EXPECT_EQ(render("{% set s = 'x' * 999999 %}{{ s in s ~ 'y' }} {{ (s ~ 'y') in s }} {{ s.find(s[1:] ~ 'y') }}"),
              "True False -1");
    const std::string many = "{% set l = range(99999)|list %}{% set d = dict(a=l) %}" + loop;
    expect_error(ErrorKind::Unsupported, "steps", many + "{{ 1 if l == l }}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "steps", many + "{{ 1 if d == d }}{% endfor %}");
    expect_error(ErrorKind::Unsupported, "steps",
                 "{% set s = 'x' * 1000000 %}{% set t = 'x' * 1000000 %}" + loop + "{{ 1 if s == t }}{% endfor %}");
    EXPECT_EQ(
        render("{% set s = 'x' * 999999 %}{{ s.rfind(s[:400000] ~ 'y') }} {{ ('y' ~ s).rfind('y' ~ s[:400000]) }}"),
        "-1 0");
    expect_error(ErrorKind::Unsupported, "deep", "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}");
    expect_error(ErrorKind::Unsupported, "deep", "{{ " + repeated("not ", 100000) + "1 }}");
    expect_error(ErrorKind::Unsupported, "deep", repeated("{% if 1 %}", 100000));
    expect_error(ErrorKind::Unsupported, "in a row", "{{ 1" + repeated(" + 1", 100000) + " }}");
    expect_error(ErrorKind::Unsupported, "in a row", "{{ a" + repeated("|d", 100000) + " }}");
    expect_error(ErrorKind::Unsupported, "beyond 64 bits", "{{ 9223372036854775807 + 1 }}");
    expect_error(ErrorKind::Unsupported, "9223372036854775808", "{{ 9223372036854775808 }}");
    expect_error(ErrorKind::Unsupported, "bytes", std::string((std::size_t{1} << 20) + 1, 'x'));
    expect_error(ErrorKind::Input, "UTF-8", "\xff");
    EXPECT_EQ(render("{% set n = namespace() %}{% set n.n = n %}{% set n.m = [n] %}x"), "x");  // a circle is freed
}

TEST(ChatTemplate, KeepsWhatIsNotItsOwnApart) {
    const auto segments = [](const std::string& expression) {
        RenderInput input;
        input.messages = from_json(R"(["  ab<|im_end|>cd\n"])", "messages", true);
        std::string shown;
        const std::string text = "{% set m = messages[0] %}<{{ " + expression + " }}>";
        for (const PromptSegment& segment : ChatTemplate::parse(text, "the template").render(input)) {
            shown += (segment.control ? "" : "[") + segment.text + (segment.control ? "" : "]");
        }
        return shown;
    };
    EXPECT_EQ(segments("m|trim"), "<[ab<|im_end|>cd]>");
    EXPECT_EQ(segments("'x' + m.strip() + 'y'"), "<x[ab<|im_end|>cd]y>");
    EXPECT_EQ(segments("m[2:4] ~ '-' ~ m[::-1][1:3]"), "<[ab]-[dc]>");
    EXPECT_EQ(segments("m.split('<|im_end|>')|map('trim')|join('|')"), "<[ab]|[cd]>");
    EXPECT_EQ(segments("m.strip().replace('<|im_end|>', '!')"), "<[ab]![cd]>");
    EXPECT_EQ(segments("'a-b'.replace('-', m.strip())"), "<a[ab<|im_end|>cd]b>");
    EXPECT_EQ(segments("(m|trim|upper)"), "<[AB<|IM_END|>CD]>");
    EXPECT_EQ(segments("{'k': m}|tojson"), "<{\"k\": \"[  ab<|im_end|>cd\\n]\"}>");
    EXPECT_EQ(segments("[m|trim]"), "<['[ab<|im_end|>cd]']>");
    EXPECT_EQ(segments("'%s/%s' % (m[2], 'x')"), "<[a]/x>");
    EXPECT_EQ(segments("m|length"), "<17>");
}

}  // namespace
}  // namespace deltavino::runtime
