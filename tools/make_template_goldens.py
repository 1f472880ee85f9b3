"""Writes tests/text/template_goldens.json: chat templates and what Jinja2 makes of them.

    python tools/make_template_goldens.py

The templates are written for this test in the style of those that models are published with; the small ones
below each exercise one rule of the language. The environment is set up as transformers does. Needs jinja2.
"""
import datetime, json, pathlib
import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "text" / "template_goldens.json"
NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return body


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: NOW.strftime(f)

CHATS = {
    "plain": [{"role": "system", "content": "Be brief. Sei höflich."}, {"role": "user", "content": "  Hi there!\n"},
              {"role": "assistant", "content": "Hello <b>you</b> & \"all\""}, {"role": "user", "content": "2+2? 😀"}],
    "no_system": [{"role": "user", "content": "Tell me a joke"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image"}, {"type": "text", "text": " Say."}]}],
    "tools": [{"role": "system", "content": "Use tools."}, {"role": "user", "content": "Weather in Paris?"},
              {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefghi", "type": "function", "function":
                  {"name": "weather", "arguments": {"city": "Paris", "unit": "°C", "days": 3, "wind": True, "alt": None, "x": 1.5e-7}}}]},
              {"role": "tool", "tool_call_id": "abcdefghi", "name": "weather", "content": "{\"t\": 21.0}"},
              {"role": "tool", "name": "weather", "content": "second"},
              {"role": "assistant", "content": "<think>\nIt is 21\n</think>\n\n21 °C."}, {"role": "user", "content": "Thanks"}],
    "bad_order": [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "?"}],
    "empty": [],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "It's the \"weather\" <now>", "parameters":
          {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Zürich"]}, "days": {"type": "integer"}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "stop", "description": "Ends", "parameters": {"type": "object", "properties": {}}}}]

REAL = {
"chatml": """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
"smollm": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
"llama2": """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns: user/assistant/user/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
"llama31": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message goes first. #}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none and messages %}
    {%- set first_user_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' ~ arg_val ~ '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")" }}
        {%- else %}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
"mistral": """{%- if messages and messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS][" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST]" + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST]" ~ message["content"] ~ "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS][" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("ids have nine characters") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {{- "]" + eos_token if loop.last else ", " }}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- message["content"] + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS]{"content": ' + content|string + ", " }}
        {{- '"call_id": "' ~ message.tool_call_id|default('none') ~ '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("unknown role " ~ message.role) }}
    {%- endif %}
{%- endfor %}
""",
"zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + (message['content'] | string) + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content']|default('', true) + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
"gemma": """{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
"gemma3": """{{ bos_token }}
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = 'model' if message.role == 'assistant' else message.role -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ 'nothing' }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
"phi3": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' ~ message['content'] ~ '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' ~ message['content'] ~ '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}""",
"qwen25": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages and messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You help.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nSignatures within <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nAnswer in <tool_call></tool_call>:\\n{\\"name\\": <name>, \\"arguments\\": <object>}<|im_end|>\\n" }}
{%- else %}
    {%- if messages and messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' ~ message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
"qwen3": """{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '[' ~ reasoning ~ ']' ~ content }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
"command_r": """{{ bos_token }}{%- macro json_type(name, spec) -%}
{%- if spec.type == 'object' -%}Dict{%- elif spec.enum -%}{{ spec.enum | map('tojson') | join('|') }}{%- else -%}{{ {'string': 'str', 'integer': 'int'}.get(spec.type, 'Any') }}{%- endif -%}
{%- endmacro %}
{% set has_system = messages and messages[0]['role'] == 'system' %}
{{ '<|START|>' }}{{ messages[0].content if has_system else 'Default rules' }}
{% for tool in tools or [] %}
def {{ tool.function.name }}({% for n, s in tool.function.parameters.properties.items() %}{{ n }}: {{ json_type(n, s) }}{% if not n in tool.function.parameters.required|default([]) %} = None{% endif %}{% if not loop.last %}, {% endif %}{% endfor %}) -> List[Dict]:
    \"\"\"{{ tool.function.description|replace('"', "'") }}\"\"\"
    pass
{% else %}
no tools
{% endfor %}
{% for message in (messages[1:] if has_system else messages) %}
{% if message.role|lower == 'user' %}{{ '<|USER|>' + (message.content|string)|trim }}
{% elif message.role == 'assistant' %}{{ '<|BOT|>' ~ (message.content or message.tool_calls|tojson(indent=2)) }}
{% else %}{{ '<|' ~ message.role|upper ~ '|>' }}{{ message }}
{% endif %}
{% endfor -%}
""",
"deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' ~ message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<｜Assistant｜><｜calls｜><｜call｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments']|tojson + '\\n```<｜end｜>'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['type']}}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<｜outputs end｜>' + message['content'] + '<｜eos｜>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜eos｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜outputs｜><｜output｜>' + message['content'] + '<｜/output｜>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<｜output｜>' + message['content'] + '<｜/output｜>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜outputs end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}""",
"granite": """{%- set now = strftime_now('%B %d, %Y') %}
{%- if messages and messages[0]['role'] == 'system' %}
{%- set system_message = messages[0]['content'] %}
{%- set loop_messages = messages[1:] %}
{%- else %}
{%- set system_message = "Today's date: " + now + ".\nYou are Granite-like." %}
{%- if tools and documents %}
{%- set system_message = system_message + " Tools and documents." %}
{%- elif tools %}
{%- set system_message = system_message + " Tools." %}
{%- endif %}
{%- set loop_messages = messages %}
{%- endif %}
{{- '<|role|>system<|/role|>' + system_message + '<|end|>\n' }}
{%- if tools %}
{{- '<|role|>tools<|/role|>' }}
{{- tools | tojson(indent=4) }}
{{- '<|end|>\n' }}
{%- endif %}
{%- for message in loop_messages %}
{{- '<|role|>' + message['role'] + '<|/role|>' ~ message['content'] + '<|end|>\n' }}
{%- if loop.last and add_generation_prompt %}
{{- '<|role|>assistant' }}{%- if controls %}{{- ' ' + controls | tojson()}}{%- endif %}{{- '<|/role|>' }}
{%- endif %}
{%- endfor %}""",
"vicuna": """{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'].strip() ~ ' ' }}{% endif %}{% for m in messages if m.role in ['user', 'assistant'] %}{{ 'USER: ' if m.role == 'user' else 'ASSISTANT: ' }}{{ m.content }}{{ ' ' if m.role == 'user' else eos_token }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}
""",
"alpaca": """{%- for message in messages %}
{%- if message['role'] == 'user' %}
### Instruction:
{{ message['content'] }}

{% elif message['role'] == 'assistant' %}
### Response:
{% generation %}{{ message['content'] }}{% endgeneration %}


{% else %}
{{ message.content }}

{% endif %}
{% endfor %}
{%- if add_generation_prompt %}
### Response:
{% endif %}
""",
"functionary": """{%- macro param(name, spec, required, depth=0) %}
{{ '  ' * depth }}{{ name }}{{ '' if name in required else '?' }}: {% if spec.type == 'array' %}{{ spec['items'].type }}[]{% else %}{{ spec.type }}{% endif %},{% endmacro %}
{%- macro wrap(title) %}<{{ title }}>{{ caller() }}</{{ title }}>{% endmacro %}
{%- if tools %}namespace functions {
{% for tool in tools %}
// {{ tool.function.description }}
type {{ tool.function.name }} = (_: {
{%- for name, spec in tool.function.parameters.properties|dictsort %}{{ param(name, spec, tool.function.parameters.required or [], depth=1) }}{% endfor %}

}) => any;
{% endfor %}
}{% endif %}
{% for m in messages %}{% if m.content is none %}{% continue %}{% endif %}{% call wrap(m.role) %}{{ m.content if m.content is string else m.content|selectattr('text', 'defined')|map(attribute='text')|join(' + ') }}{% endcall %}

{% if loop.index >= 4 %}{% break %}{% endif %}{% endfor %}""",
}

# name -> template; each is rendered once with the variables of SMALL_VARS
SMALL = {
    "whitespace": "a  \n  {% if true %}  \n  b\n  {%- endif +%}\n c {{- 1 -}}  d\n\t{# note #}\n e {%+ if true %}f{% endif %}\n  {{ 2 }}\n\n",
    "raw": "{% raw %}{{ x }} {% if %}{% endraw %}!\n  {%- raw -%}\n  {{ y }} \n{%- endraw %}\nend",
    "literals": "{{ [1, 2.5, 'a', \"b'c\", true, none, False, (1,), (), {'k': [1], 2: 'x'}, 1e20, 1e-5, 100000000.0, 0.1, -0.0, 1_000] }} {{ 'a' 'b' }} {{ '\\n\\t\\\\\\'\\u00e9' }}",
    "arithmetic": "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 2 * 3 - 4 }} {{ true + 1 }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ 1 ~ 2 ~ none ~ [] }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 10 - 3 - 2 }}",
    "comparisons": "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }} {{ 1 in [1] }} {{ 'b' not in 'abc' }} {{ 'k' in d }} {{ not 1 == 2 }} {{ none == false }} {{ 1 != 2 == true }}",
    "logic": "{{ 0 or 'x' }} {{ '' and 1 }} {{ [] or {} or 0.0 or none }} {{ not [] }} {{ 1 and 2 and 3 }} {{ 'y' if missing else 'n' }}[{{ 'y' if missing }}] {{ (1 if false else 2) if true else 3 }}",
    "tests": "{{ missing is defined }} {{ d is mapping }} {{ l is sequence }} {{ s is string }} {{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1 is integer }} {{ 1.0 is float }} {{ none is none }} {{ l is iterable }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 1 is eq 1 }} {{ 'a' is in 'abc' }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ missing is not defined and 1 is not none }} {{ s is not string }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ range is callable }} {{ 5 is gt 3 }} {{ 5 is le(3) }} {{ 'x' is sameas 'x' }} {{ 1 is boolean }}",
    "filters": "{{ ' x '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 'hello wORLD foo-bar'|title }}|{{ 'hELLO'|capitalize }}|{{ 'Ab'|upper ~ 'Ab'|lower }}|{{ l|length }}|{{ l|join('-') }}|{{ missing|default('dd') }}|{{ ''|default('e') }}|{{ ''|d('e', true) }}|{{ 'aXbXc'|replace('X', 'yy') }}|{{ 'aXbX'|replace('X', '', 1) }}|{{ l|first }}{{ l|last }}|{{ 'abc'|list }}|{{ 'abc'|reverse }}|{{ l|reverse|list }}|{{ '12'|int + 1 }}|{{ 'x'|int }}|{{ 'x'|int(7) }}|{{ '2.9'|int }}|{{ 3.99|int }}|{{ '1.5'|float }}|{{ 5|string ~ 'a' }}|{{ '<a href=\"x\">\\'&'|escape }}|{{ [3, 1, 2]|sort }}|{{ ['b', 'A', 'c']|sort }}|{{ ['b', 'A', 'a', 'B']|unique|list }}|{{ -3|abs }}|{{ 2.5|round }}|{{ 2.567|round(2) }}|{{ 2.1|round(0, 'ceil') }}|{{ [1, 2, 3]|sum }}|{{ [1, 5, 3]|max }}{{ [4, 2]|min }}|{{ ''|first is defined }}",
    "filters_lists": "{{ people|map(attribute='name')|join(', ') }}|{{ people|map('length')|list }}|{{ people|selectattr('age', 'gt', 30)|map(attribute='name')|list }}|{{ people|rejectattr('ok')|list }}|{{ people|selectattr('ok')|list|length }}|{{ [1, 2, 3, 4]|select('odd')|list }}|{{ [0, 1, '']|reject|list }}|{{ ['a', 'B']|map('upper')|list }}|{{ people|sort(attribute='age')|map(attribute='name')|list }}|{{ people|sum(attribute='age') }}|{{ d|dictsort }}|{{ d|dictsort(reverse=true) }}|{{ d|items|list }}|{{ people|map(attribute='x', default='-')|list }}|{{ people[:1]|map(attribute='addr.city')|list }}|{{ people|join('/', attribute='name') }}|{{ [1, 2, 3]|map('string')|join }}",
    "tojson": "{{ d|tojson }}\n{{ d|tojson(indent=2) }}\n{{ [[], {}, [1, [2]], 'é\\u0001\\t\"\\\\/', 1.0, 1e100, true, none]|tojson(indent=1) }}\n{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ 'x<y>&z\\''|tojson }} {{ missing is defined }}",
    "indent": "{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent(2, blank=true) }}|{{ 'a\\nb'|indent('> ') }}",
    "strings": "{{ ' ab '.strip() }}|{{ 'xxabxx'.lstrip('x') }}|{{ 'xxabxx'.rstrip('x') }}|{{ 'a b  c '.split() }}|{{ 'a,b,,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a b c'.split(none, 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}|{{ 'aXbX'.replace('X', '-') }}|{{ 'aXbX'.replace('X', '-', 1) }}|{{ 'they\\'re bill\\'s'.title() }}|{{ 'ab'.upper() ~ 'AB'.lower() ~ 'aB'.capitalize() }}|{{ 'héllo'.find('l') }}{{ 'abc'.find('z') }}{{ 'abcabc'.rfind('b') }}|{{ '-'.join(['a', 'b']) }}|{{ '{} {1}'.format if false else '{0}-{1}-{x}'.format(1, 'b', x=[2]) }}|{{ '{}{{}}{}'.format('a', 2.0) }}|{{ 'a\\nb\\r\\nc'.splitlines() }}|{{ '12'.isdigit() }}|{{ 'banana'.count('an') }}|{{ 'abc'.removeprefix('a').removesuffix('c') }}|{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ s[-3:] }}{{ s[:100] }}{{ s[5:2] }}",
    "slices": "{{ l[1:] }}{{ l[:-1] }}{{ l[::2] }}{{ l[::-1] }}{{ l[-2:] }}{{ l[10:] }}{{ l[:0] }}{{ l[-100:2] }}{{ l[3:0:-1] }}{{ l[-1] }}{{ l[0] }}{{ (1, 2, 3)[1:] }}{{ l.0 }}[{{ l[99] }}]",
    "dicts": "{{ d.a }}{{ d['b'] }}{{ d.get('a') }}{{ d.get('z') }}{{ d.get('z', 'dflt') }}{{ d.keys()|list }}{{ d.values()|list }}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}[{{ d.nope }}][{{ d['nope'] }}]{{ d|length }}{{ {'items': 3}['items'] }}{{ dict(a=1, b=2) }}{{ d }}",
    "loops": "{% for x in l %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.cycle('o', 'e') }}/{{ loop.previtem }}/{{ loop.nextitem is defined }} {% endfor %}\n{% for x in [] %}x{% else %}none{% endfor %}\n{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}\n{% for x in range(10) if x % 2 %}{{ loop.index }}:{{ x }}{% if x > 6 %}{% break %}{% endif %} {% endfor %}\n{% for x in range(5, 0, -2) %}{{ x }}{% endfor %}{% for c in 'añb' %}<{{ c }}>{% endfor %}{% for x in missing %}x{% endfor %}{% for i in range(3) %}{% for j in range(i) %}{{ loop.index }}{% endfor %}{{ loop.index }}|{% endfor %}",
    "scopes": "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }} {% if true %}{% set x = 9 %}{% endif %}{{ x }} {% set ns = namespace(n=0, l=[]) %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }} {{ ns.l }} {% set a, b = 1, 2 %}{{ a }}{{ b }} {% set t = 1, 2 %}{{ t }} {% set blk %}in {{ x }}{% endset %}{{ blk }} {% set up | upper %}shout{% endset %}{{ up }} {% with q = 5, r = 6 %}{{ q + r }}{% endwith %}[{{ q }}]{% filter upper %}abc{% endfilter %}",
    "macros": "{% macro m(a, b='d', c=none) %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(a=3, c=4) }}{{ m('x', b='y') }}{% macro outer() %}{{ m('in') }}{% endmacro %}{{ outer() }}{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}{% macro w() %}<{{ caller('c') }}>{% endmacro %}{% call(v) w() %}{{ v }}!{% endcall %}{% set r = m(1) %}{{ r|length }}{{ m() }}",
    "unicode": "{{ 'ÄÖ'|lower }}{{ 'straße'|upper }}{{ 'éa'|length }}{{ '日本語'[1] }}{{ ['é', '日', '\\u200b', '\\x07'] }}{{ '😀'|tojson }}",
    "error_raise": "{{ raise_exception('the message: ' ~ l|length) }}",
    "error_undefined": "{{ missing.attribute }}",
    "error_add": "{{ 'a' + 1 }}",
    "error_append": "{% set x = [] %}{{ x.append(1) }}",
    "error_syntax": "{% if %}",
    "error_filter": "{{ 1|nofilter }}",
    "error_range": "{{ range(1000000) }}",
    "error_none_add": "{{ none + 'a' }}",
    "error_unclosed": "{% for x in l %}",
    "error_zero": "{{ 1 // 0 }}",
    "error_none_iter": "{% for x in none %}{% endfor %}",
}
SMALL_VARS = {"l": [1, 2, 3, 4], "s": "héllo", "d": {"b": 2, "a": "x'y", "C": None},
              "people": [{"name": "Ann", "age": 41, "ok": True, "addr": {"city": "X"}}, {"name": "bob", "age": 25, "ok": False, "addr": {}}, {"name": "Cy", "age": 33, "ok": True}]}


def render(source, variables):
    try:
        return {"output": env.from_string(source).render(**variables)}
    except Exception as error:
        return {"error": str(error) if isinstance(error, jinja2.exceptions.TemplateError) and type(error) is jinja2.exceptions.TemplateError else ""}


def main():
    cases = []
    for name, source in REAL.items():
        for chat, messages in CHATS.items():
            for prompt, tools in ((True, None), (False, TOOLS)):
                options = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>"}
                cases.append({"name": f"{name}/{chat}/{prompt}", "template": name, "chat": chat, "prompt": prompt, "tools": tools is not None, "extra": {}, **render(source, options)})
    for name, source in SMALL.items():
        options = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **SMALL_VARS}
        cases.append({"name": name, "template": name, "chat": "empty", "prompt": True, "tools": False, "extra": SMALL_VARS, **render(source, options)})
    OUT.write_text(json.dumps({"templates": {**REAL, **SMALL}, "chats": CHATS, "tools": TOOLS, "cases": cases}, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    errors = [c["name"] for c in cases if "error" in c]
    print(len(cases), "cases,", len(errors), "errors:", errors)


main()
