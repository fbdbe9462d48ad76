"""Every column of a case, once: type, unit, Chinese term, official field. The glossary reads this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the case table.

    `kind` is text, whole, day, flag, codes or money. Money is int64 fen under `name`, which ends in
    ``_fen``; without that ending an input column is decimal yuan. `official` is the field of the
    settlement list 医保基金结算清单 (4101A).
    """

    name: str
    kind: str
    unit: str
    chinese: str
    official: str = ""
    required: bool = False

    def header(self, lang: str) -> str:
        """Return the header of a form to fill, in "zh" or "en"; money in yuan."""
        if lang == "zh":
            return self.chinese.partition(" ")[0] + ("（元）" if self.kind == "money" else "")
        return self.name.removesuffix("_fen")

    @property
    def arrow(self) -> Any:
        """The Arrow type."""
        return _ARROW[self.kind]


_ARROW = {
    "text": pa.string(),
    "whole": pa.int32(),
    "day": pa.date32(),
    "flag": pa.bool_(),
    "codes": pa.list_(pa.string()),
    "money": pa.int64(),
}


def _money(name: str, chinese: str, official: str = "") -> Column:
    return Column(f"{name}_fen", "money", "fen", chinese, official)


COLUMNS: tuple[Column, ...] = (
    Column("case_id", "text", "unique", "结算流水号", "setl_id", required=True),
    Column("hospital_id", "text", "", "定点医药机构编号", "fixmedins_code"),
    Column("hospital_level", "text", "三级, 二级, 一级 or finer", "医疗机构等级", "hi_setl_lv"),
    Column("hospital_class", "text", "a finer kind, such as 妇幼", "医疗机构类别", ""),
    Column("insurance", "text", "310 职工, 390 居民 …", "险种类型", "insutype"),
    Column("insured_area", "text", "", "参保地", "insu_admdvs"),
    Column("hospital_area", "text", "", "就医地"),
    Column("sex", "whole", "1 male, 2 female; 0, 9 unknown", "性别", "gend", required=True),
    Column("age", "whole", "whole years", "年龄", "age", required=True),
    Column("age_days", "whole", "days; needed when age = 0", "新生儿天龄", "nwb_age"),
    Column("birth_weight", "whole", "g", "新生儿出生体重", "nwb_bir_wt"),
    Column("admission_weight", "whole", "g", "新生儿入院体重", "nwb_adm_wt"),
    Column("admission_date", "day", "", "入院日期", "adm_time"),
    Column("discharge_date", "day", "", "出院日期", "dscg_time"),
    Column("los", "whole", "days", "住院天数", "act_ipt_days"),
    Column("discharge_mode", "text", "1 home, 2 transfer, 5 died …", "离院方式", "dscg_way"),
    Column("department", "text", "", "出院科别", "dscg_caty"),
    Column("icu_hours", "whole", "hours", "重症监护时长", "scs_cutd_sum_dura"),
    Column("ventilator_hours", "whole", "hours", "呼吸机使用时长", "vent_used_dura"),
    Column("diagnoses", "codes", "principal first", "诊断", "diseinfo", required=True),
    Column("procedures", "codes", "principal first", "手术操作", "oprninfo", required=True),
    Column(
        "principals",
        "whole",
        "diagnoses flagged principal; 2 rejects",
        "主诊断个数",
        "maindiag_flag",
    ),
    Column(
        "code_edition",
        "text",
        "insurer 医保版 or clinical 国临版; read with --codes case",
        "编码版本",
    ),
    Column("doctor_id", "text", "", "主诊医师代码", "chfpdr_code"),
    Column("coder_id", "text", "", "编码员代码"),
    Column("settlement_date", "day", "decides month and year", "结算日期", "setl_time"),
    Column("med_type", "text", "", "医疗类别", "med_type"),
    Column("ipt_med_type", "text", "", "住院医疗类型", "ipt_med_type"),
    Column("trt_type", "text", "", "治疗类别", "trt_type"),
    Column(
        "refd_setl_flag", "flag", "the settlement was reversed", "退费结算标志", "refd_setl_flag"
    ),
    Column("list_upload_date", "day", "", "清单上传日期", ""),
    Column("pay_note", "text", "note of the policy's pay_as.csv", "支付备注"),
    Column("patient_id", "text", "pseudonym", "人员编号", "psn_no"),
    _money("total_cost", "医疗费总额", "medfee_sumamt"),
    _money("drug", "药品费"),
    _money("consumable", "耗材费"),
    _money("examination", "检查检验费"),
    _money("tcm", "中医类费用"),
    _money("fund_paid", "基金支付总额 (booked fund)", "fund_pay_sumamt"),
    _money("self_paid", "个人支付", "psn_part_amt"),
    _money("pooled_fund", "统筹基金支出", "hifp_pay"),
    _money("large_fund", "大额医疗补助", "hifob_pay"),
    _money("major_illness_fund", "大病保险", "hifmi_pay"),
    _money("civil_servant_fund", "公务员医疗补助", "cvlserv_pay"),
    _money("aid_fund", "医疗救助", "maf_pay"),
    _money("other_fund", "其他基金", "othfund_pay"),
    _money("account", "个人账户支出", "acct_pay"),
    _money("cash", "个人现金支出", "psn_cash_pay"),
    _money("first_self_pay", "先行自付", "preselfpay_amt"),
    _money("full_self_pay", "全自费", "fulamt_ownpay_amt"),
    _money("over_limit", "超限价自费", "overlmt_selfpay"),
    _money("deductible", "起付线", "act_pay_dedc"),
    _money("hospital_borne", "医院负担", "hosp_part_amt"),
    _money("carve_out", "除外支付"),
    _money("unreasonable", "不合理费用"),
)
"""The columns of a case, in their order."""

BY_NAME = {c.name: c for c in COLUMNS}
