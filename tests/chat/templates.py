"""Chat templates of the kinds that the family's checkpoints and their fine-tunes carry, written for these tests.

Each does by its own words what one published template or one public fine-tune does: which constructs it needs
is taken from there, the text is not.
"""

from __future__ import annotations

CONTENT = r"""{%- set images = namespace(n=0) %}{%- set videos = namespace(n=0) %}
{%- macro shown(content, counts=false, is_system=false) %}
    {%- if content is string %}
        {{- content }}
    {%- elif content is iterable and content is not mapping %}
        {%- for part in content %}
            {%- if 'image' in part or 'image_url' in part or part.type == 'image' %}
                {%- if is_system %}{{- raise_exception('A system turn cannot hold pictures.') }}{%- endif %}
                {%- if counts %}{%- set images.n = images.n + 1 %}{%- endif %}
                {%- if number_pictures is defined and number_pictures %}{{- 'Picture ' ~ images.n ~ ': ' }}{%- endif %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'video' in part or part.type == 'video' %}
                {%- if is_system %}{{- raise_exception('A system turn cannot hold videos.') }}{%- endif %}
                {%- if counts %}{%- set videos.n = videos.n + 1 %}{%- endif %}
                {%- if number_pictures is defined and number_pictures %}{{- 'Video ' ~ videos.n ~ ': ' }}{%- endif %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif 'text' in part %}
                {{- part.text }}
            {%- else %}
                {{- raise_exception('A part of a message is of an unknown kind.') }}
            {%- endif %}
        {%- endfor %}
    {%- elif content is none or content is undefined %}
        {{- '' }}
    {%- else %}
        {{- raise_exception('The content of a message is of an unknown kind.') }}
    {%- endif %}
{%- endmacro %}
"""

LAST_QUESTION = r"""{%- set seen = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set place = (messages|length - 1) - loop.index0 %}
    {%- if seen.searching and message.role == 'user' %}
        {%- set words = shown(message.content)|trim %}
        {%- if not (words.startswith('<tool_response>') and words.endswith('</tool_response>')) %}
            {%- set seen.searching = false %}{%- set seen.last = place %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if seen.searching %}{{- raise_exception('Nobody asked anything.') }}{%- endif %}
"""

THINKING_PARTS = r"""        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in words %}
            {%- set thought = words.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set words = words.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- set thought = thought|trim %}
"""

RESPONSES = r"""    {%- elif message.role == 'tool' %}
        {%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- words }}{{- '\n</tool_response>' }}
        {%- if not loop.last and loop.nextitem.role != 'tool' %}
            {{- '<|im_end|>\n' }}
        {%- elif loop.last %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- else %}
        {{- raise_exception('There is no role ' ~ message.role ~ '.') }}
    {%- endif %}
{%- endfor %}
"""

OPENING = {
    "on": r"""{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- else %}
        {{- '<think>\n' }}
    {%- endif %}
{%- endif %}
""",
    "off": r"""{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is true %}
        {{- '<think>\n' }}
    {%- else %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
""",
}


def vision_family(opening: str, kept: str) -> str:
    """Qwen3.5 and 3.6: tools as XML, pictures, thinking of the last question's steps kept.

    kept: whether thinking of earlier questions is, an expression.
    """
    return (
        CONTENT
        + r"""{%- if not messages %}{{- raise_exception('There are no messages.') }}{%- endif %}
{%- if tools and tools is iterable and tools is not mapping %}
    {{- '<|im_start|>system\n# Functions\n\nThese can be called:\n<tools>' }}
    {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\n</tools>\n\nCall one so:\n<tool_call>\n<function=NAME>\n<parameter=P>\nvalue\n</parameter>\n</function>\n</tool_call>' }}
    {%- if messages[0].role == 'system' %}
        {%- set words = shown(messages[0].content, false, true)|trim %}
        {%- if words %}{{- '\n\n' + words }}{%- endif %}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\n' + shown(messages[0].content, false, true)|trim + '<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
"""
        + LAST_QUESTION
        + r"""{%- for message in messages %}
    {%- set words = shown(message.content, true)|trim %}
    {%- if message.role == 'system' %}
        {%- if not loop.first %}{{- raise_exception('A system turn must come first.') }}{%- endif %}
    {%- elif message.role == 'user' %}
        {{- '<|im_start|>' + message.role + '\n' + words + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
"""
        + THINKING_PARTS
        + r"""        {%- if loop.index0 > seen.last or """
        + kept
        + r""" %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + thought + '\n</think>\n\n' + words }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + words }}
        {%- endif %}
        {%- if message.tool_calls and message.tool_calls is iterable and message.tool_calls is not mapping %}
            {%- for call in message.tool_calls %}
                {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
                {%- if loop.first %}
                    {{- ('\n\n' if words|trim else '') + '<tool_call>\n<function=' + call.name + '>\n' }}
                {%- else %}
                    {{- '\n<tool_call>\n<function=' + call.name + '>\n' }}
                {%- endif %}
                {%- if call.arguments is defined %}
                    {%- for name, value in call.arguments|items %}
                        {{- '<parameter=' + name + '>\n' }}
                        {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string %}
                        {{- value }}
                        {{- '\n</parameter>\n' }}
                    {%- endfor %}
                {%- endif %}
                {{- '</function>\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
"""
        + RESPONSES
        + OPENING[opening]
    )


# Qwen3-Next: tools as JSON, thinking always opened or never there.
JSON_TOOLS = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- "# Functions\n\nThese can be called:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nCall one by {\"name\": ..., \"arguments\": ...}<|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set words = message.content %}{%- else %}{%- set words = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + words + '<|im_end|>' + '\n' }}
    {%- elif message.role == "system" %}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in words %}
            {%- set thought = words.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set words = words.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.last or (not loop.last and thought) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + words.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + words }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and words) or (not loop.first) %}{{- '\n' }}{%- endif %}
                {%- if call.function %}{%- set call = call.function %}{%- endif %}
                {{- '<tool_call>\n{"name": "' }}
                {{- call.name }}
                {{- '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
""" + RESPONSES + r"""{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n<think>\n' }}
{%- endif %}
"""

# Qwen3-Coder-Next: each tool's schema written out as XML, keys that were not handled by a macro.
CODER = r"""{% macro others(fields, handled) %}
    {%- if fields is mapping %}
        {%- for key in fields if key not in handled %}
            {%- if fields[key] is mapping or (fields[key] is sequence and fields[key] is not string) %}
                {{- '\n<' ~ key ~ '>' ~ (fields[key] | tojson | safe) ~ '</' ~ key ~ '>' }}
            {%- else %}
                {{- '\n<' ~ key ~ '>' ~ (fields[key] | string) ~ '</' ~ key ~ '>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{% endmacro %}
{%- if messages[0]["role"] == "system" %}
    {%- set opening = messages[0]["content"] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = [] %}{%- endif %}
{%- if opening is defined %}
    {{- "<|im_start|>system\n" + opening }}
{%- elif tools is iterable and tools | length > 0 %}
    {{- "<|im_start|>system\nYou write programs." }}
{%- endif %}
{%- if tools is iterable and tools | length > 0 %}
    {{- "\n\n<tools>" }}
    {%- for tool in tools %}
        {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
        {{- "\n<function>\n<name>" ~ tool.name ~ "</name>" }}
        {%- if tool.description is defined %}{{- '\n<description>' ~ (tool.description | trim) ~ '</description>' }}{%- endif %}
        {{- '\n<parameters>' }}
        {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
            {%- for name, fields in tool.parameters.properties|items %}
                {{- '\n<parameter>\n<name>' ~ name ~ '</name>' }}
                {%- if fields.type is defined %}{{- '\n<type>' ~ (fields.type | string) ~ '</type>' }}{%- endif %}
                {%- if fields.description is defined %}{{- '\n<description>' ~ (fields.description | trim) ~ '</description>' }}{%- endif %}
                {%- set handled = ['name', 'type', 'description'] %}
                {{- others(fields, handled) }}
                {{- '\n</parameter>' }}
            {%- endfor %}
        {%- endif %}
        {%- set handled = ['type', 'properties'] %}
        {{- others(tool.parameters, handled) }}
        {{- '\n</parameters>' }}
        {{- others(tool, ['type', 'name', 'description', 'parameters']) }}
        {{- '\n</function>' }}
    {%- endfor %}
    {{- "\n</tools>" }}
{%- endif %}
{%- if opening is defined or tools is iterable and tools | length > 0 %}{{- '<|im_end|>\n' }}{%- endif %}
{%- for message in rest %}
    {%- set words = message.content %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content is defined and message.content is string and message.content | trim | length > 0 %}
            {{- '\n' + message.content | trim + '\n' }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
            {{- '\n<tool_call>\n<function=' + call.name + '>\n' }}
            {%- if call.arguments is defined %}
                {%- for name, value in call.arguments|items %}
                    {{- '<parameter=' + name + '>\n' }}
                    {%- set value = value if value is string else value | string %}
                    {{- value }}
                    {{- '\n</parameter>\n' }}
                {%- endfor %}
            {%- endif %}
            {{- '</function>\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "user" or message.role == "system" or message.role == "assistant" %}
        {{- '<|im_start|>' + message.role + '\n' + words + '<|im_end|>' + '\n' }}
""" + RESPONSES + r"""{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

# Qwen3.8: an effort text stands in the system turn while thinking is on, earlier thinking is kept.
EFFORT = r"""{%- set hint = namespace(text='') %}
{%- if enable_thinking is undefined or enable_thinking is true %}
    {%- set effort = reasoning_effort | default('high', true) %}
    {%- if effort not in ['low', 'medium', 'high'] %}{{- raise_exception('effort ' ~ effort ~ ' is not known') }}{%- endif %}
    {%- if effort == 'high' %}
        {%- set hint.text = 'Check every step twice.' %}
    {%- elif effort == 'low' %}
        {%- set hint.text = 'Be quick.' %}
    {%- endif %}
{%- endif %}
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + (hint.text + '\n\n' if hint.text else '') + messages[0].content|trim + '<|im_end|>\n' }}
{%- elif hint.text %}
    {{- '<|im_start|>system\n' + hint.text + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages if message.role != 'system' %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>user\n' }}
        {%- if message.content is string %}
            {{- message.content|trim }}
        {%- else %}
            {%- for part in message.content %}{{- '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text }}{%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {% generation %}
        {{- '<|im_start|>assistant\n<think>\n' + (message.reasoning_content or '')|trim + '\n</think>\n\n' + message.content|trim + '<|im_end|>\n' -}}
        {% endgeneration %}
    {%- else %}
        {%- continue %}
    {%- endif %}
{%- endfor %}
""" + OPENING["on"]

# The empty block stays in the history, so that the states can be kept.
KEEPS_EMPTY_BLOCK = r"""{%- set quiet = enable_thinking is defined and enable_thinking is false %}
{%- for message in messages %}
    {%- set head = '<|im_start|>%s\n' | format(message.role) %}
    {%- if message.role == 'assistant' %}
        {{- head ~ ('<think>\n\n</think>\n\n' if quiet) ~ message.content.split('</think>')[-1].lstrip('\n') }}
    {%- else %}
        {{- head ~ message.content }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' ~ ('<think>\n\n</think>\n\n' if quiet) }}{%- endif %}"""

DEFAULT_SYSTEM = r"""{% if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] %}{% set rules = messages[0]['content'] %}
{%- else %}
    {%- set loop_messages = messages %}{% set rules = 'Answer in rhymes.' %}
{%- endif %}
{{- '<|im_start|>system\n' ~ rules ~ '<|im_end|>\n' }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Turns must alternate.') }}
    {%- endif %}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

NOT_CHATML = r"""{{ bos_token }}{% for message in messages %}
[{{ message.role | upper }}] {{ message.content }}
{% endfor %}
{% if add_generation_prompt %}
[ASSISTANT] {% endif %}"""

SWITCH_AT_THE_TOP = r"""{%- set enable_thinking = enable_thinking if enable_thinking is defined else true -%}
{%- set state = namespace(thinking=enable_thinking) -%}
{%- for message in messages -%}
{%- if message.role == 'user' and '/no_think' in message.content -%}{%- set state.thinking = false -%}{%- endif -%}
{{- '<|im_start|>' + message.role + '\n' + message.content|replace('/no_think', '')|trim + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}
{%- if not state.thinking -%}{{- '<think>\n\n</think>\n\n' -}}{%- else -%}{{- '<think>\n' -}}{%- endif -%}{%- endif -%}"""

INSTRUCT = r"""{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

ALWAYS_THINKS = r"""{#- thinking is opened on the same line -#}
{%- for message in messages -%}
    {%- set ns = namespace(text=message.content) -%}
    {%- if message.role == 'assistant' -%}
        {%- set ns.text = ns.text.rsplit('</think>', 1)[-1] -%}
    {%- endif -%}
    {{- '<|im_start|>' ~ message.role ~ '\n' ~ ns.text ~ '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>' -}}{%- endif -%}"""

DATED = r"""{%- if strftime_now is defined %}{%- set today = strftime_now('%d %B %Y') %}{%- else %}{%- set today = '26 Jul 2024' %}{%- endif %}
{{- '<|im_start|>system\nToday is ' ~ today ~ '.' -}}
{%- for tool in tools or [] -%}
    {%- set f = tool.function if 'function' in tool else tool %}
    {%- for name in (f.parameters.properties | default({})).keys() | list | sort -%}
        {{- '\n' ~ loop.index ~ '/' ~ loop.length ~ ' ' ~ f.name ~ '.' ~ name ~ (': required' if name in f.parameters.required | default([])) -}}
    {%- endfor -%}
    {{- '\n' ~ f | tojson(indent=2) -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- for role, group in [('user', messages | selectattr('role', 'equalto', 'user') | list), ('assistant', messages | selectattr('role', 'eq', 'assistant') | list)] -%}
    {{- role | title ~ 's: ' ~ group | length ~ '\n' -}}
{%- endfor -%}
{%- for message in messages | rejectattr('role', 'equalto', 'system') -%}
    {%- if message is mapping and 'content' in message and message['content'] is string -%}
        {{- '<|im_start|>' ~ message['role'] ~ '\n' ~ message['content'] ~ '<|im_end|>\n' -}}
    {%- endif -%}
{%- endfor -%}
{{- '<|im_start|>assistant\n' if add_generation_prompt -}}"""

TEMPLATES = {
    "vision, thinks": vision_family("on", "false"),
    "vision, answers": vision_family("off", "false"),
    "vision, keeps thinking when asked": vision_family("on", "(preserve_thinking is defined and preserve_thinking is true)"),
    "json tools": JSON_TOOLS,
    "coder": CODER,
    "effort": EFFORT,
    "keeps the empty block": KEEPS_EMPTY_BLOCK,
    "default system text": DEFAULT_SYSTEM,
    "not ChatML": NOT_CHATML,
    "switch at the top": SWITCH_AT_THE_TOP,
    "instruct": INSTRUCT,
    "always thinks": ALWAYS_THINKS,
    "dated": DATED,
}
