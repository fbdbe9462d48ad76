"""What codes of a run are called in a report (中文 and English)."""

from __future__ import annotations

OTHER = {"其他": ("其他（合并）", "other (merged)")}

STATUS = {
    "grouped": ("入组", "grouped"),
    "ambiguous": ("歧义", "ambiguous"),
    "ungrouped": ("未入组", "ungrouped"),
    "rejected": ("拒绝", "rejected"),
}

BANDS = {
    "low": ("低倍率", "low"),
    "normal": ("正常", "normal"),
    "high": ("高倍率", "high"),
    "extreme": ("极高倍率", "extreme"),
    "none": ("不评价", "not judged"),
}

LINES = {
    "fund": ("基金", "fund"),
    "taker": ("异地就医", "price takers"),
    "carve_out": ("除外支付", "carve-outs"),
}

STATES = {
    "settled": ("已结算", "settled"),
    "published": ("已发布", "published"),
    "frozen": ("已冻结", "frozen"),
    "draft": ("草稿", "draft"),
    "open": ("未结算", "open"),
}

COLOURS = {
    "green": ("正常", "in pace"),
    "yellow": ("黄色预警", "yellow"),
    "orange": ("橙色预警", "orange"),
    "red": ("红色预警", "red"),
}

KINDS = {
    "year": ("年度清算", "the year's clearing"),
    "month": ("月度预结算", "a month's pre-settlement"),
    "single": ("一次结算", "a single settlement"),
}

CLASSES = {
    "pre": ("先期分组", "pre-group"),
    "merged": ("并项病种", "merged"),
    "subdivided": ("细分病种", "subdivided"),
    "basic": ("基础规则病种", "basic rule"),
    "core": ("核心病种", "core"),
    "primary_care": ("基层病种", "primary care"),
    "mixed": ("综合病种", "mixed"),
    "rest": ("其他", "rest"),
}

REASONS = {
    "duplicate_case_id": ("流水号重复", "the case_id stands twice"),
    "input_unreadable": ("内容不可读", "the row cannot be read"),
    "no_principal_diagnosis": ("无主要诊断", "no principal diagnosis"),
    "two_principal_diagnoses": ("主要诊断多于一个", "two principal diagnoses"),
    "sex_unreadable": ("性别不可读", "sex cannot be read"),
    "age_unreadable": ("年龄不可读", "age cannot be read"),
    "age_days_missing": ("不足一周岁无天龄", "age in days is missing at age 0"),
    "discharge_before_admission": ("出院早于入院", "discharge before admission"),
    "unknown_principal": ("主要诊断编码未知", "unknown principal diagnosis"),
    "grey_principal": ("主要诊断为灰码", "the principal diagnosis is a grey code"),
    "no_mdc": ("不符合任何主要诊断大类", "no MDC takes the case"),
    "no_adrg": ("不符合任何核心病组", "no ADRG takes the case"),
    "no_drg": ("不符合任何细分组", "no DRG takes the case"),
    "remainder": ("落入大类剩余组", "the remainder of the MDC"),
    "excluded_principal": ("主要诊断在排除目录", "excluded principal diagnosis"),
    "no_group": ("目录中无对应病种", "no group of the catalogue takes the case"),
    "no_edition": ("当日无适用版本", "no edition is in force on its day"),
    "unknown_coding": ("编码版本未知", "unknown edition of codes"),
    "ambiguous": ("手术与主要诊断大类不符", "operation and MDC do not fit"),
}

WARNINGS = {
    "sex_missing": ("性别未填（0 或 9）", "sex is not given (0 or 9)"),
    "unknown_secondary": ("其他诊断编码未知", "unknown secondary diagnosis"),
    "unknown_procedure": ("手术操作编码未知", "unknown procedure"),
    "grey_principal": ("主要诊断为灰码", "grey principal diagnosis"),
    "grey_secondary": ("其他诊断为灰码", "grey secondary diagnosis"),
    "grey_procedure": ("手术操作为灰码", "grey procedure"),
    "duplicate_secondary": ("其他诊断重复", "a secondary diagnosis stands twice"),
    "principal_as_secondary": (
        "主要诊断重复为其他诊断",
        "the principal diagnosis stands among the others",
    ),
    "newborn_weight": ("新生儿体重异常", "odd weight of a newborn"),
    "main_excluded": ("首个手术不是主要手术", "the first procedure is not the main one"),
    "unclassed_procedure": ("手术操作无类别", "a procedure without a class"),
}

ABOUT = {
    "title": ("政策", "policy"),
    "kind": ("种类", "kind"),
    "period": ("结算期", "period"),
    "status": ("状态", "status"),
    "policy": ("政策编号", "policy id"),
    "standing": ("政策性质", "standing"),
    "scheme": ("分组方案", "scheme"),
    "content_hash": ("结果内容哈希", "content hash"),
    "made": ("生成时间", "made"),
    "version": ("程序版本", "version"),
}
