"""Words by which people ask for things, English and Chinese, sorted by what they mean.

A line is a concept and its surface forms, separated by commas; a form of several words is matched as a phrase, a
Chinese form wherever it stands. Both what commands say of themselves and what people ask for are read through it,
so `todo` finds `task.create` and 待办 does too. A form may mean several concepts. Nouns and verbs of the catalogue
that are not here stand for themselves: a new command needs no entry to be found, only to be found by other words.
"""

NOUNS = """
task: task, tasks, item, items, todo, to-do, to do, chore, assignment, action item, work item, deadline, plate, 任务, 待办, 事项, 事情, 工作项, 活儿
message: message, messages, msg, dm, chat, note to, write to, tell, text, ping, reply, post, posts, direct talk, direct message, 消息, 私信, 聊天, 聊天记录, 留言给, 告诉, 通知一下, 回复, 发给
channel: channel, channels, chat room, group chat, room, group, 频道, 群, 群聊, 群组, 聊天室
doc: doc, docs, document, documents, page, write-up, article, wiki, 文档, 文章, 文稿
file: file, files, drive, attachment, folder, upload, 文件, 网盘, 云盘, 附件, 文件夹
form: form, forms, kinds of approval, template, 表单, 审批表, 模板
request: request, requests, req, approval, approvals, application, leave request, expense, claim, 申请, 审批, 报销, 请假
gate: gate, gates, confirmation, question of an agent, 确认请求, 待确认
notice: notice, notices, notification, notifications, alert, alerts, news, inbox, missed, concerns me, 通知, 提醒, 未读
work: workspace, everything, everywhere, anywhere, 工作区, 全部内容, 所有内容, 全局
user: user, users, person, people, colleague, employee, member, staff, account of a person, role, 用户, 人员, 同事, 员工, 成员, 账号, 账户, 离职, 入职
team: team, teams, squad, crew, 团队, 小组, 班组
department: department, departments, dept, division, unit, 部门, 科室
project: project, projects, initiative, 项目, 工程
key: key, keys, api key, api keys, token for the api, credential, secret, 密钥, 秘钥, api key
service-account: service account, service accounts, robot account, bot account, 服务账号, 服务账户, 程序账号
login-link: login link, sign-in link, sign in link, one-time link, magic link, log in, sign in, 登录链接, 登录, 一次性链接
budget: budget, budgets, limit, limits, cap, caps, quota, allowance, envelope, at most, no more than, restrict, 预算, 上限, 限额, 额度, 配额
usage: usage, consumption, consumed, used, burn, burned, tokens used, how many tokens, spending, statistics, 用量, 使用量, 消耗, 用了多少, 统计
price: price, prices, cost, costs, rate, rates, tariff, charge, price list, pricing, how expensive, 价格, 单价, 价目, 多少钱, 费用
ledger: ledger, books, book entry, accounts, bookkeeping, charged, statement, billing, bill, 账本, 账目, 记账, 账单, 流水
model: model, models, llm, weights, gguf, 模型
deploy: deploy, deployment, deployments, serve, served, serving, running model, online, engine, 部署, 上线, 服务中
provider: provider, providers, vendor, upstream, outside provider, 供应商, 提供商, 服务商
job: job, jobs, background, background work, download in progress, 后台, 作业, 后台任务
agent: agent, agents, assistant program, 智能体, 代理
grant: grant, grants, lend, lent, delegated right, 授权, 授予, 借给
audit: audit, audits, audit log, audit row, trail, what was done, log of actions, tampered log, 审计, 操作记录, 审计日志, 操作
policy: policy, policies, rule, rules, permission, permissions, allowed, may do, 策略, 规则, 权限, 允许
org: organisation, organization, org, company, tenant, 组织, 公司信息, 企业
commands: command, commands, verb, 命令, 指令
calendar: calendar, working hours, time zone, free time, availability, free together, 日历, 空闲, 工作时间, 时区
event: event, events, meeting, meetings, appointment, appointments, agenda, diary, get-together, 日程, 会议, 约会, 开会, 活动
room: meeting room, meeting rooms, conference room, rooms, 会议室
report: report, reports, weekly report, daily report, 报告, 周报, 日报, 汇报
skill: skill, skills, 技能
schedule: schedule, schedules, timetable, by the clock, 定时, 排程
"""

VERBS = """
ought: has to, have to, must, should, needs to, need to, ought to, supposed to, 应该, 必须, 需要
create: create, new, make, add, set up, start a, open a, begin, establish, form a, found, issue, generate, register, onboard, sign up, draft, launch a, write a, kick off, need a, want a, remember, remind, 新建, 创建, 建, 新增, 添加, 增加, 成立, 设立, 新设, 生成, 开一个, 加一个, 加个, 安排, 记个, 记一个, 记一下
list: list, all, show all, overview, which, what are, any, who are, every, how do, what do, what is, what does, 列出, 列一下, 有哪些, 哪些, 所有, 列表, 一览, 情况, 都有什么, 还有什么, 看看有
show: show, see, view, look at, display, details, detail, open up, read, tell me about, what does, what is, how is, who is, about, stand, stands, status, 查看, 看看, 看一下, 看, 显示, 详情, 打开, 内容
set: set, change, update, modify, move, raise, lower, rename, reassign, hand over, push, postpone, bump, adjust, put off, give another, assign, lead, 修改, 改, 更改, 更新为, 调整, 改为, 改成, 改派, 改名, 转给, 推迟, 提高, 降低
remove: remove, delete, get rid of, throw away, throw out, dissolve, discard, take out, kick, take off, trash, bin, put away, lift, drop, forget, no longer, 删除, 删掉, 删, 移除, 去掉, 解散, 踢出, 取消, 移出
share: share, give access, grant access, let see, let have a look, access, may see, should be able to see, able to see, for writing, write access, 分享, 共享, 可以编辑, 可以看, 开放给
comment: comment, remark, note on, say something, annotate, leave a note, note that, write on, 评论, 留言, 备注, 批注
finish: finish, finished, done, complete, completed, tick off, check off, mark as done, through with, 完成, 做完, 做完了, 搞定, 标记完成
reopen: reopen, open again, back to open, not done after all, undone, 重新打开, 重开, 恢复
drop: drop, scrap, abandon, cancel the task, forget about, give up, nobody needs, not needed any more, 放弃, 不做了, 作废, 不用做
send: send, ask, tell, write to, message, dm, post, announce, say to, let know, ping, inform, reply, answer, 发, 发送, 发一条, 发消息, 告诉, 通知, 私信, 回复, 转告
edit: edit, fix, rewrite, correct, retitle, reword, revise, new version, change, rename, 编辑, 改成, 修改, 改写, 更正, 改标题
recall: recall, unsend, retract, take back, withdraw, 撤回, 收回
join: join, joins, put in, into the, enter, goes into, 加入, 分到, 进入, 调入
leave: leave, quit, exit, take me out, no longer belongs, left, step out of, 退出, 离开, 退, 调离
add: add, invite, bring in, put on, get into, join, joins, include, bring, into, 拉进, 拉入, 加到, 加进, 邀请, 放进, 加入
history: history, past, in the past, versions, version history, over time, changed when, who changed, earlier versions, 历史, 版本, 历史版本, 变化, 改过
get: get, download, fetch, content of, 下载, 获取, 取出
put: put, upload, store, keep, save, 上传, 保存, 存
move: move, rename, put into, should be called, file under, 移动, 重命名, 移到, 改名
approve: approve, agree, accept, yes, sign off, confirm, allow, ok, go ahead, green light, 批准, 同意, 通过, 准许, 确认
reject: reject, turn down, refuse, decline, say no, 驳回, 拒绝, 不同意, 否决
deny: deny, refuse, no to, say no, block, reject, 拒绝, 不允许, 否决
delegate: delegate, decide instead, in my place, decide for me, hand over, on my behalf, let decide, should decide, 转给, 委托, 代为, 代我, 转交
withdraw: withdraw, take back, cancel my, no longer need, 撤回, 撤销, 收回, 取消
read: read, seen, mark as read, mark as seen, 已读, 标为已读, 标记已读
search: search, find, look for, look up, where, 搜索, 查找, 搜, 找
disable: disable, lock out, lock, cut off, end access, left the company, deactivate, fired, block, 停用, 禁用, 封禁, 离职, 注销
rotate: rotate, renew, new secret, swap, replace the secret, 轮换, 更换, 换新
revoke: revoke, kill, invalidate, leaked, end, take back, withdraw, 吊销, 撤销, 作废, 收回
verify: verify, prove, check, tamper, tampered, intact, altered, whole, integrity, 验证, 核对, 核实, 校验, 完整, 篡改
reconcile: reconcile, agree with, compare, match up, 对账, 核对, 比对
statement: statement, charged, calls, 账单, 明细, 流水
correct: correct, refund, take the charge back, 冲正, 退还, 退款
import: import, load list, 导入
simulate: simulate, what if, would have cost, re-rate, 模拟, 试算
pull: pull, download, fetch, get, 拉取, 下载
stop: stop, halt, pause, suspend, freeze, 停止, 暂停, 停掉, 停
start: start, wake, restart, again, resume, 启动, 开始, 重启
resume: resume, again, may work again, continue, unfreeze, let work, 恢复, 继续
cancel: cancel, abort, stop, 取消, 中止, 终止
test: test, check, try, works, answers, reachable, ping, 测试, 检测, 测一下
undo: undo, roll back, revert, reverse, mistake, restore, bring back, 撤销, 回滚, 还原, 恢复
export: export, dump, 导出
why: why, whether, would be allowed, may, explain, 为什么, 能不能, 是否
apply: apply, put in force, enact, 应用, 生效
invite: invite, ask along, bring along, 邀请
answer: answer, rsvp, come, coming, attend, attending, decline, accept, 参加, 出席, 答复
free: free, available, availability, 有空, 空闲
close: close, shut, 关闭
allow: allow, permit, let agents, 允许, 放行
use: use, 使用
result: result, outcome, came of, 结果
pin: pin, 置顶
unpin: unpin
describe: describe, how does, arguments, explain, what arguments, 说明, 怎么用, 参数
"""

COMMANDS = """
deploy.create: serve, host, bring online, bring, run a model, put into service, 部署, 上线
deploy.remove: stop serving for good, undeploy, 下线
deploy.stop: stop serving, pause, 暂停服务
deploy.list: running, being served, served now, models running, 在运行
user.disable: access, account
user.create: colleague, new person
notice.list: new, news, missed, unread, happened, 未读
request.list: waiting for me, wait for me, to decide, to approve, have to approve, decide, became, become of, 等我, 待我
form.list: kinds
gate.list: waiting, waits, open questions
channel.create: group, members
channel.leave: me
channel.add: people
message.list: conversation, talk, written, wrote, lately, last, latest, 记录, 看看
message.send: let know, know, 说
task.list: still to do, have to do, outstanding, open, left to do, 手上, 没做
task.create: should, must, remember, remind, remind me, do not forget, don't forget, 提醒我, 记得, 别忘了, ask, before, should, has to, needs to, 让, 之前
team.add: people, joins
department.join: people
department.set: head, heads, boss, led
department.show: boss, leader, who leads, head
channel.show: who belongs, who is in, members
budget.create: only, allow only, per month, per day, a day, a month, each month, each day, 每月, 每天, 设
budget.show: left, remaining, forecast, 剩余, 还剩
budget.set: raise, lower
usage.show: break down, by model, by team, by user, per day, per model, 按
audit.list: denied, refused, happened
policy.why: would be allowed, permitted
policy.list: rules in force
file.share: access, may see
doc.share: access, may see, may read, write access, 编辑, 可以
file.show: who may see, who can see, size
ledger.verify: books tampered
audit.verify: altered log, audit changed
provider.add: connect
provider.test: works, answers, reachable
price.set: charge, for input, for output
agent.stop: immediately, at once
login-link.create: sign-in, console
model.list: could deploy, can be deployed, catalogue
model.pull: download
model.show: licence, license
org.show: which organisation, am i in
grant.list: lent
work.search: whole workspace, search everything, anywhere
commands.search: which command
commands.describe: how to use, arguments
"""

CHOICES = """
write: write, writing, edit, editing, change, 编辑, 修改
read: read, reading, look, view, see, 查看, 阅读
none: none, no longer, not any more, not any longer, nothing, 不再
denied: denied, refused, forbidden, 被拒
done: done, finished, completed, complete, 完成, 做完
dropped: dropped, scrapped, abandoned, 放弃
approved: approved, accepted, agreed, 已批准, 通过
rejected: rejected, turned down, declined, 被驳回
open: open, pending, outstanding, 未决
user: user, person, people, employee, colleague, 用户, 人
day: day, daily, 每天, 天, 日
model: model, 模型
team: team, teams, 团队
key: key, api key, 密钥
project: project, 项目
money: money, dollars, euros, spending, spend, 钱, 元, 金额
requests: requests, calls, 次
concurrency: at once, at the same time, parallel, 并发
viewer: viewer, read-only, 只读
admin: admin, administrator, 管理员
owner: owner, 所有者
ledger: ledger, books, 账本
"""
"""Values of arguments and the words that mean them."""

FIELDS = """
everyone: everyone, everybody, anyone, whole company, whole firm, all staff, 所有人, 大家, 全员
open: everyone, everybody, anyone, open for, open to, whole company, whole firm, 所有人, 大家, 公开
mine: i made, i sent, i filed, my own, mine, my requests, 我提交的, 我的申请, 我发起的
to_decide: for me, me to, i have to, i need to, do i have, my decision, my yes, 等我, 待我, 要我, 我审批
all: all agents, every agent, every one of, already read, read ones, 全部智能体, 所有智能体, 包括已读
soft: only count, count only, without refusing, soft, 只统计
apps: apps, app keys, 应用
confirmed: confirmed, 已确认
priority: priority, urgent, 优先级, 紧急
version: version, 版本, 版
hours: hours, 小时
limit: first, last, at most, 条
cap: cap, limit, tokens, 上限, 令牌
input: input, 输入
output: output, 输出
title: title, as, retitle, titled, rename, called, 职务, 标题, 改名
body: body, description, details, 正文, 内容
content: content, body, whole text, 正文, 内容
quote: quote, quoting, words, 引用
lead: lead, led, head, heads, leads, boss, run by, 负责人, 主管, 领导
parent: under, below, part of, parent, 上级, 隶属
by: by, per, each, break down, 按, 每
"""
"""Arguments that are given only where a word of theirs is said."""
