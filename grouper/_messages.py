"""What the command line says (命令行用语), as data: words, sentences, and refusals in Chinese.

Only what people read is spoken in their language. JSON, codes, reasons in files, names of columns, and the
file, row and field of a refusal never change.
"""

from __future__ import annotations

import re
from typing import Literal

Lang = Literal["zh", "en"]

WORDS = {
    # steps
    "reading": "读取",
    "grouping": "分组",
    "paying": "结算",
    "writing": "写出",
    "drawing": "生成",
    "checking": "质控",
    "calibrating": "测算",
    "compiling": "编译",
    "statements": "结算单",
    "reporting": "报告",
    "audit": "工作底稿",
    "plain reading": "逐例复核",
    # facts
    "inputs": "输入",
    "name": "名称",
    "bytes": "字节",
    "scheme": "方案",
    "schemes": "方案",
    "id": "编号",
    "fingerprint": "指纹",
    "notes": "说明",
    "codes": "编码",
    "given": "给定",
    "lists": "编码表",
    "cases": "病例",
    "rows": "行",
    "status": "状态",
    "reasons": "原因",
    "warnings": "提示",
    "normalised": "规范化",
    "ignored_columns": "未读的列",
    "dropped_columns": "舍弃的列（个人信息）",
    "faulty_rows": "有误的行",
    "output": "输出",
    "report": "报告",
    "run": "结果",
    "kind": "种类",
    "period": "期间",
    "proof": "平衡",
    "pool_id": "基金池",
    "line": "科目",
    "fund_fen": "基金（分）",
    "floor_draw_fen": "托底（分）",
    "pay_fen": "应付（分）",
    "balance_fen": "结余（分）",
    "undistributed_fen": "未分配（分）",
    "overdrawn_fen": "超支（分）",
    "identity": "恒等式",
    "bands": "倍率",
    "paid_by_rule": "按规则支付",
    "stand_ins": "代入值",
    "proposals": "建议",
    "content_hash": "内容摘要",
    "hospital": "医疗机构",
    "hospitals": "医疗机构",
    "month": "月份",
    "file": "文件",
    "findings": "问题",
    "cases_with_findings": "有问题的病例",
    "rules": "规则",
    "absent_fields": "缺少的字段",
    "asked_only_if_filled": "有值才查的字段",
    "kernels": "内核",
    "missing": "缺少",
    "seconds": "秒",
    "places": "位置",
    "title": "题名",
    "passed": "通过",
    "checks": "检查",
    "check": "检查",
    "found": "所见",
    "policies": "政策",
    "code lists": "编码表",
    "checked": "初审",
    "approved": "复核",
    "published": "发布",
    "draft": "草稿",
    "year": "年",
    "fund": "统筹基金",
    # values
    "grouped": "入组",
    "ambiguous": "歧义",
    "ungrouped": "未入组",
    "rejected": "拒绝",
    "none": "无",
    "low": "低倍率",
    "normal": "正常",
    "high": "高倍率",
    "extreme": "极高倍率",
    "error": "错误",
    "warning": "警告",
    "note": "提示",
}
"""English word → Chinese; a word that is not here is said as it is."""

SENTENCES: dict[str, tuple[str, str]] = {
    "interrupted": ("已中断；没有写到一半的文件", "interrupted; nothing is half-written"),
    "adds_up": ("{n:,} 家，逐家相符", "{n}, each adds up"),
    "more": ("另有 {n} 项：--json 全部列出", "{n} more: --json has them all"),
    "nothing_named": ("（无）", "(none)"),
    "share_id": (
        "{n} 行的 case_id 都是 {case_id}：分组时全部拒绝",
        "{n} rows share case_id {case_id}: grouping rejects them all",
    ),
    "rule_fails": ("{n} 例，{share}，{money} 元", "{n} cases, {share}, {money} yuan"),
    "rules_end": (
        "规则：{n} 条；有病例不通过 {failing} 条，通过 {passed} 条",
        "rules: {n}; fail somewhere {failing}, pass {passed}",
    ),
    "rules_rest": (
        "对所有病例都无法判断：{n} 条；缺少的字段：{names}",
        "not evaluable in any case: {n}; fields not there: {names}",
    ),
    "passed": ("通过", "passed"),
    "failed": ("不通过", "FAILED"),
    "not_done": ("未做", "not done"),
    "verified": ("核验通过", "verified"),
    "not_verified": ("核验不通过", "not verified"),
    "nothing_found": ("没有发现问题", "nothing found"),
    "touched": ("{n:,} 例", "{n:,} cases"),
}
"""What the command line says itself: key → Chinese, English."""

REFUSALS: tuple[tuple[str, str], ...] = (
    (r"no scheme '([^']*)'", r"没有方案“\1”"),
    (r"no policy '([^']*)'", r"没有政策“\1”"),
    (r"no code list '([^']*)'", r"没有编码表“\1”"),
    (r"; known: (.*); or give the path of a folder", r"；已有：\1；也可以给出文件夹的路径"),
    (r"; the nearest is '([^']*)'", r"；最接近的是“\1”"),
    (
        r"; the nearest header is '([^']*)': if it is meant, ",
        r"；最接近的表头是“\1”：若是它，请写 ",
    ),
    (r"; the nearest header is '([^']*)'", r"；最接近的表头是“\1”"),
    (r"; no header is near it", r"；没有相近的表头"),
    (r"required column '([^']*)' is missing", r"缺少必需的列“\1”"),
    (r"column '([^']*)' of the ([a-z ]+) is missing", r"缺少列“\1”（\2）"),
    (r"请写 map ", r"请在列映射中写 "),
    (r"the headers are: ", r"表头有："),
    (r"it has (.*)$", r"现有：\1"),
    (r"no such header", r"没有这个表头"),
    (r"no column of that name", r"没有这一列"),
    (r"no such file of ([a-z ]+)", r"没有这个文件（\1）"),
    (r"no such file", r"没有这个文件"),
    (r"; the nearest names there are: ", r"；那里最接近的名称有："),
    (r"; its folder is empty", r"；所在文件夹是空的"),
    (
        r"no case files in this folder; a case file ends in ",
        r"文件夹里没有病例文件；病例文件的扩展名是 ",
    ),
    (r"is an input; name another output", r"是输入文件；请另起输出的名称"),
    (
        r"it holds an earlier run; allow overwriting or name another folder",
        r"里面已有一次结果；请用 --overwrite 覆盖，或另起文件夹",
    ),
    (
        r"it holds a published run, which is never overwritten; name another folder",
        r"里面是已发布的结果，不能覆盖；请另起文件夹",
    ),
    (
        r"the folder is not empty and no earlier run \(no ([^)]*)\); name another",
        r"文件夹不是空的，也不是以前的结果（没有 \1）；请另起文件夹",
    ),
    (
        r"it also holds (.*), which no run wrote; name another folder",
        r"里面还有 \1，不是结果的文件；请另起文件夹",
    ),
    (r"it is a file; a run needs a folder of its own", r"这是文件；结果需要自己的文件夹"),
    (r"holds an earlier demo: --overwrite replaces it", r"里面已有一次演示：--overwrite 会覆盖它"),
    (r", edits of its policy too; or ", r"和对政策的改动；或"),
    (r"holds other files; ", r"里面有别的文件；"),
    (r"name a new folder", r"请另起文件夹"),
    (r"of no known kind; a result ends in ", r"种类不明；结果文件的扩展名是 "),
    (r"cannot be written: ", r"无法写入："),
    (r"neither UTF-8 nor GB18030; save it as UTF-8", r"既不是 UTF-8 也不是 GB18030；请存为 UTF-8"),
    (r"no whole ([A-Za-z]+) file, truncated or damaged", r"不是完整的 \1 文件，被截断或已损坏"),
    (
        r"name one, or a policy whose \[\[scheme\]\] table adopts several",
        r"请给出一个方案，或一个以 [[scheme]] 采用多个方案的政策",
    ),
    (r"no case '([^']*)' among ([0-9]+) of (.*)$", r"\3 的 \2 例中没有“\1”"),
    (r"'([^']*)' is no day such as ", r"“\1”不是日期，例如 "),
    (r"(.*) needs ([\w.]+): pip install ", r"\1 需要 \2：pip install "),
    (r"No such command '([^']*)'\.", r"没有命令“\1”。"),
    (r"No such option '([^']*)'\.", r"没有选项“\1”。"),
    (r"Did you mean ('.*)\?", r"是不是 \1？"),
    (r"Missing option '([^']*)'\.", r"缺少选项“\1”。"),
    (r"Missing argument '([^']*)'\.", r"缺少参数“\1”。"),
    (r"Invalid value for '([^']*)': ", r"“\1”的值不对："),
    (r"Option '([^']*)' requires an argument\.", r"选项“\1”需要一个值。"),
    (r"Got unexpected extra arguments? \((.*)\)", r"多出的参数：\1"),
)
"""Patterns of the common refusals and what they are in Chinese; what matches none stays as it is."""

_COMPILED = [(re.compile(pattern), said) for pattern, said in REFUSALS]


def word(text: str, lang: str) -> str:
    """Return a word of a fact in a language."""
    return WORDS.get(text, text) if lang == "zh" else text


def sentence(key: str, lang: str, **given: object) -> str:
    """Return a sentence in a language, with what is given."""
    zh, en = SENTENCES[key]
    return (zh if lang == "zh" else en).format(**given)


def refusal(message: str, lang: str) -> str:
    """Return the message of a refusal in a language; file, row and field stay."""
    if lang == "zh":
        for pattern, said in _COMPILED:
            message = pattern.sub(said, message)
    return message
