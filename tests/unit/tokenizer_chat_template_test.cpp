#include "tokenizer/chat_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string rewritten(std::string_view text) {
    return portable_chat_template(text).text;
}

TEST(ChatTemplate, SpellsWhatGenAiLacksOtherwise) {
    EXPECT_EQ(rewritten("{% if x is undefined or y is not undefined %}a{% endif %}"),
              "{% if x is not defined or y is defined %}a{% endif %}");
    EXPECT_EQ(rewritten("{{ x|d('a') }}{{ x | default }}"), "{{ x|default('a') }}{{ x | default('') }}");
    EXPECT_EQ(rewritten("{{ x|tojson(ensure_ascii=False) }}"), "{{ x|tojson() }}");
    EXPECT_EQ(rewritten("{{ x|tojson(ensure_ascii=false, indent=2) }}"), "{{ x|tojson( indent=2) }}");
    EXPECT_EQ(rewritten("{{ x|tojson(indent=2, ensure_ascii=false) }}"), "{{ x|tojson(indent=2) }}");
    EXPECT_EQ(rewritten("{{ [1, 2,] }}{{ {'a': 1,} }}"), "{{ [1, 2] }}{{ {'a': 1} }}");
    EXPECT_EQ(rewritten("{{ 'a' 'b' }}"), "{{ 'ab' }}");
    EXPECT_EQ(rewritten(R"({{ '\u00e9\x41\x27\d' }})"),
              "{{ '\xC3\xA9"
              "A\\'\\\\d' }}");
    EXPECT_EQ(rewritten("a\n  {{ 1 }}"), "a\n{{ '  ' }}{{ 1 }}");
    EXPECT_THAT(portable_chat_template("{{ x is undefined }}{{ x is undefined }}").rewritten,
                ElementsAre("'is undefined'"));
}

// Each takes minutes where a bracket is looked for again for every token, or a name in a list of all names.
TEST(ChatTemplate, LongTemplatesTakeTimeInProportion) {
    constexpr std::size_t kCount = 150'000;
    std::string tuples = "{{ ";
    std::string filters = "{{ x";
    std::string nested = "{{ x";
    for (std::size_t i = 0; i < kCount; ++i) {
        tuples += '(';
        filters += "|f" + std::to_string(i);
        nested += "|tojson(a=x";
    }
    for (std::size_t i = 0; i < kCount; ++i) {
        tuples += ",)";
        nested += ')';
    }
    EXPECT_THAT(portable_chat_template(tuples + " }}").missing, ElementsAre("tuple of one"));
    EXPECT_EQ(portable_chat_template(filters + " }}").missing.size(), kCount);
    EXPECT_THAT(portable_chat_template(nested + " }}").missing, ElementsAre("argument 'a' of filter 'tojson'"));
}

TEST(ChatTemplate, LeavesStringsCommentsAndRawBlocksAlone) {
    for (const char* text :
         {"x is undefined", "{{ 'x is undefined' }}", "{{ \"x is undefined\" }}", "{# x is undefined #}",
          "{{ '}} x is undefined' }}", "{{ 'a\\' is undefined' }}", "{{ undefined }}", "{{ is_undefined }}",
          "{%- raw -%}{{ x is undefined }}{%- endraw -%}", "{%- if a -%}\n  {{ 1 }}{% endif %}", "a  {{ 1 }}",
          "  {{- 1 }}", "", "{", "{{", "{% if x is undefined", "{{ 'x is undefined }}", "{{ ) is undefined }}"}) {
        EXPECT_EQ(rewritten(text), text);
        EXPECT_THAT(portable_chat_template(text).rewritten, IsEmpty()) << text;
    }
    EXPECT_THAT(portable_chat_template("{% raw %}{{ 1 }}{% endraw %}").missing, ElementsAre("statement 'raw'"));
    EXPECT_EQ(rewritten("{% raw %}{% if %}{% endraw %}{{ x is undefined }}"),
              "{% raw %}{% if %}{% endraw %}{{ x is not defined }}");
}

TEST(ChatTemplate, NamesWhatGenAiLacks) {
    EXPECT_THAT(portable_chat_template("{% set a, b = 1, 2 %}{{ a|first }}{{ a is even }}{{ a.find('x') }}").missing,
                ElementsAre("statement 'set' with several names", "filter 'first'", "test 'even'", "method 'find'"));
    EXPECT_THAT(portable_chat_template("{{ a.split() }}{{ a.split(',', 1) }}{{ a.split(f(1, 2)) }}").missing,
                ElementsAre("method 'split' without exactly one argument"));
    EXPECT_THAT(portable_chat_template("{% with a = 1 %}{% endwith %}").missing, ElementsAre("statement 'with'"));
    EXPECT_THAT(portable_chat_template("{%+ if a %}{% endif %}").missing, ElementsAre("'+' in a delimiter"));
    EXPECT_THAT(portable_chat_template("{{ a|selectattr('b') }}{{ a|select('odd') }}").missing,
                ElementsAre("filter 'selectattr' without a test", "test 'odd' in filter 'select'"));
    EXPECT_THAT(portable_chat_template("{{ a|trim }}{{ a.b.strip('x') }}{{ f(a,) }}").missing, IsEmpty());
}

}  // namespace
}  // namespace deltavino::tokenizer
