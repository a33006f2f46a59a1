// Every word of the page, in one table: English and Chinese. {names} are filled in. Help texts and messages come
// from the server as the command line says them.

const TABLE = {
  // stage and player
  stage: ["Picture", "画面"], view: ["View", "预览"], before: ["Before", "之前"], after: ["After", "之后"], compare: ["Compare", "对比"],
  mode_result: ["Result", "结果"], mode_source: ["Source", "原图"], mode_split: ["Split", "分割"], mode_side: ["Side by side", "并排"], mode_difference: ["Difference", "差异"],
  short_result: ["Result", "结果"], short_source: ["Source", "原图"], short_split: ["Split", "分割"], short_side: ["Both", "并排"], short_difference: ["Diff", "差异"],
  split_at: ["Where the two pictures meet", "分割位置"], gain: ["Gain", "增益"], image_of: ["image {number} of {count}", "第 {number} / {count} 帧"],
  play: ["Play", "播放"], pause: ["Pause", "暂停"], step_back: ["One image back", "上一帧"], step_on: ["One image on", "下一帧"], time: ["Time", "时间"],
  fit: ["Fit", "适应窗口"], zoom_in: ["Zoom in", "放大"], zoom_out: ["Zoom out", "缩小"], done_placing: ["Done", "完成"],
  box_help: ["Arrow keys move it, with Shift by ten; with Alt they change its size. Enter ends.", "方向键移动,Shift 每次十像素;Alt 加方向键改变大小;回车结束。"],
  box_help_move: ["Arrow keys move it, with Shift by ten. Enter ends.", "方向键移动,Shift 每次十像素;回车结束。"],
  one_frame: ["One image; colours may differ", "单帧预览,颜色可能不同"],
  // timeline
  timeline: ["Timeline", "时间轴"], cell: ["Image {number}: {cs} cs ({ms} ms), at {start} s", "第 {number} 帧:{cs} cs({ms} ms),起于 {start} s"],
  plays_as: ["browsers play it as {cs} cs", "浏览器按 {cs} cs 播放"], selected: ["{count} selected · {time} s", "已选 {count} 帧 · {time} 秒"], all_images: ["{count} images · {time} s", "{count} 帧 · {time} 秒"],
  delay_value: ["Delay", "延时"], delay_how: ["How to change the delay", "延时方式"], delay_cs: ["cs", "cs(百分之一秒)"], delay_ms: ["ms", "毫秒"], delay_times: ["times", "倍"], delay_plus: ["cs more", "再加 cs"],
  set_delay: ["Set delay", "设置延时"], every_n: ["N", "N"], spans_example: ["3-7, 9", "3-7, 9"], select_images: ["Select images by number", "按编号选择帧"], selection_acts: ["What to do with the selection", "对所选帧的操作"],
  slower: ["Slower", "更慢"], slower_title: ["A quarter longer each", "每帧延长四分之一"], faster: ["Faster", "更快"], faster_title: ["A fifth shorter each", "每帧缩短五分之一"],
  drop: ["Drop", "删除"], drop_title: ["Leave the selected images out (Del)", "删除所选帧 (Del)"], keep: ["Keep", "保留"], keep_title: ["Keep only the selected images", "只保留所选帧"],
  thin: ["Every N-th", "每隔 N 帧"], thin_title: ["Keep every N-th image of the selection, or of all", "在所选帧(或全部)中每 N 帧保留一帧"],
  reverse: ["Reverse", "倒序"], reverse_title: ["Show the selected images backwards", "倒放所选帧"], loop_here: ["Loop here", "从此循环"], loop_here_title: ["Begin with the first selected image", "从所选第一帧开始"], equal_width: ["Equal widths", "等宽"],
  // controls
  none: ["None", "无"], automatic: ["Automatic", "自动"], on: ["On", "开"], off: ["Off", "关"], pick_colour: ["pick a colour", "选择颜色"], unit: ["unit", "单位"], width: ["Width", "宽"], height: ["Height", "高"], width_short: ["W", "宽"], height_short: ["H", "高"],
  left: ["Left", "左"], top: ["Top", "上"], lock: ["Keep the aspect", "锁定比例"], aspect: ["Aspect", "比例"], aspect_free: ["Free", "自由"], aspect_own: ["As it is", "原比例"], use_selection: ["Selection", "用所选"], use_selection_title: ["Take the images selected in the timeline", "使用时间轴中所选的帧"],
  no_file: ["No file", "未选择"], choose_file: ["Choose…", "选择…"], uploading: ["Sending {name}…", "正在上传 {name}…"], remove_file: ["Remove the file", "移除文件"], times: ["times", "次"], reset: ["Back to the default: {name}", "恢复默认:{name}"],
  draw_rectangle: ["On the picture", "在画面上"], draw_regions: ["On the picture", "在画面上"], draw_point: ["On the picture", "在画面上"],
  // chain
  chain: ["Steps", "步骤"], add_stage: ["Add a step", "添加步骤"], chain_empty: ["Nothing is changed yet. Add a step: resize, crop, speed…", "尚无更改。请添加步骤:缩放、裁剪、速度……"], sides: ["Sides", "四边"], more: ["{count} more options", "另外 {count} 项"],
  stage_on: ["{name} is on", "启用{name}"], drag_title: ["Drag to move; Alt and arrow keys do the same", "拖动排序;也可用 Alt 加方向键"], move_up: ["Move {name} up", "上移{name}"], move_down: ["Move {name} down", "下移{name}"], duplicate: ["Duplicate {name}", "复制{name}"], remove: ["Remove {name}", "删除{name}"],
  output: ["Output", "输出"], sample_text: ["Your text", "你的文字"], lossless: ["lossless", "无损"], lossless_outside: ["lossless outside", "区外无损"], requantised: ["new colours", "重新取色"], box_crop: ["What is kept", "保留区域"], box_watermark: ["Where the watermark goes", "水印位置"], box_blur: ["What is hidden", "遮挡区域"],
  // result
  result: ["Result", "结果"], making: ["Making…", "生成中…"], making_of: ["{image} of {total} images", "第 {image} / {total} 帧"], making_at: ["{image} images", "{image} 帧"], time_left: ["about {time} s left", "约剩 {time} 秒"], cancel: ["Cancel", "取消"], cancelled: ["Cancelled", "已取消"], make_again: ["Make it after all", "重新生成"],
  smaller: ["{percent} % smaller", "小了 {percent}%"], larger: ["{percent} % larger", "大了 {percent}%"], times_larger: ["{times} times as large", "{times} 倍大小"], plays_for: ["{time}, plays as {played}", "{time},按 {played} 播放"], as_large: ["same size", "大小相同"], announce: ["Result {size}, {change}", "结果 {size},{change}"],
  f_size: ["Picture", "画面"], f_images: ["Images", "帧数"], f_duration: ["Duration", "时长"], f_colours: ["Colours", "颜色"], f_path: ["Pixels", "像素"], f_took: ["Made in", "耗时"],
  path_copy: ["copied, untouched", "直接复制,未变"], path_index: ["lossless", "无损"], path_recolour: ["lossless elsewhere", "绘制区外无损"], path_full: ["new colours, once", "重新取色一次"], path_planes: ["film, re-encoded", "视频,重新编码"],
  download: ["Download", "下载"], save: ["Save", "保存"], done: ["Done", "完成"], close: ["Close", "关闭"], command: ["Command", "命令"], preset: ["Presets", "预设"], copy: ["Copy", "复制"], copied: ["Copied", "已复制"], in_the_way: ["{name} exists. Replace it?", "{name} 已存在,是否替换?"], replace: ["Replace", "替换"],
  saved: ["Saved as {name}", "已保存为 {name}"], done_told: ["{name} is written. This page can be closed.", "{name} 已写入,可以关闭此页。"], ended: ["The server has ended. Start it again with vedit gif serve.", "服务已结束。请用 vedit gif serve 重新启动。"], discard: ["Close without a result", "放弃并关闭"],
  part: ["Preview of the first {count} images", "仅预览前 {count} 帧"], whole: ["Make the whole file", "生成完整文件"], file_name: ["File name", "文件名"],
  run_again: ["Run the cell to edit it again.", "运行此单元格即可继续编辑。"],
  // command
  form: ["Form", "形式"], form_command: ["Command", "命令"], form_file: ["Steps in a file", "步骤文件"], form_preset: ["Preset file", "预设文件"], form_folder: ["For a folder", "整个文件夹"], shell: ["Shell", "终端"], posix: ["POSIX shell", "POSIX 终端"], powershell: ["PowerShell", "PowerShell"], copy_command: ["Copy the command line (K)", "复制命令 (K)"], text_of: ["Contents of {name}", "{name} 的内容"],
  // presets
  preset_name: ["Name", "名称"], preset_save: ["Save these steps", "保存当前步骤"], preset_load: ["Load", "载入"], preset_own: ["yours", "自存"], question: ["Question", "询问"], preset_none: ["There are none yet.", "还没有预设。"],
  // page
  open: ["Open…", "打开…"], source: ["Source", "来源"], drop_here: ["Drop a GIF or a film here", "将 GIF 或视频拖到此处"], or_pick: ["Pick a file", "选择文件"], or_paste: ["or paste one. Files stay on this computer.", "或粘贴。文件不会离开本机。"], or_paste_there: ["or paste one. It goes to the notebook's kernel, and nowhere else.", "或粘贴。文件只会发送到笔记本内核。"], undo: ["Undo", "撤销"], redo: ["Redo", "重做"], keys: ["Keys", "快捷键"], language: ["中文", "English"],
  tab_chain: ["Steps", "步骤"], tab_view: ["View", "预览"], tab_result: ["Result", "结果"], sending: ["Sending {name}: {percent} %", "正在上传 {name}:{percent}%"], too_large: ["{name} is too large: at most {most} are taken (--max-upload).", "{name} 太大:最多接受 {most}(--max-upload)。"], is_folder: ["{name} is a folder. Drop files.", "{name} 是文件夹,请拖入文件。"], no_answer: ["The server does not answer. If it has ended, start it again with vedit gif serve.", "服务没有响应。如果它已结束,请用 vedit gif serve 重新启动。"], undone: ["Undone", "已撤销"], redone: ["Redone", "已重做"], moved: ["Moved", "已移动"], images_short: ["{count} images", "{count} 帧"],
  k_play: ["Play, pause", "播放、暂停"], k_step: ["One image back, on", "上一帧、下一帧"], k_ends: ["First, last image", "第一帧、最后一帧"], k_select: ["Selection begins, ends here", "选区从此开始、到此结束"], k_drop: ["Drop the selection", "删除所选帧"], k_blink: ["Hold: the source", "按住:原图"], k_fit: ["Fit, 100 %", "适应、100%"], k_zoom: ["Zoom", "缩放"], k_crop: ["Crop", "裁剪"], k_undo: ["Undo, redo", "撤销、重做"], k_copy: ["Copy the command line", "复制命令"], k_download: ["Download", "下载"], k_keys: ["This list", "此列表"],
};

// Names that the server's tables hold: shown as they are in English, and by these in Chinese.
const NAMES = {
  stage: { adjust: "调色", blur: "打码", crop: "裁剪", delay: "延时", fade: "淡入淡出", frames: "选帧", metadata: "信息", pad: "扩边", resize: "缩放", rotate: "旋转", speed: "速度", watermark: "水印" },
  option: {
    brightness: "亮度", contrast: "对比度", saturation: "饱和度", gamma: "伽马", pivot: "基准", rect: "矩形", how: "方式", strength: "强度", left: "左", right: "右", top: "上", bottom: "下", centre: "居中", auto: "自动", rules: "规则", hold: "停留", "min-delay": "最短延时", "raw-delays": "原始延时", in: "淡入", out: "淡出", color: "颜色", colors: "颜色数", keep: "保留", drop: "删除", every: "每隔", of: "范围", time: "时间", "drop-equal": "去重", order: "顺序", close: "收紧", loop: "循环", strip: "去除", comment: "注释", size: "尺寸", aspect: "比例", position: "位置", width: "宽", height: "高", scale: "比例", fit: "适应", fill: "填满", "keep-aspect": "锁定比例", filter: "算法", "only-shrink": "只缩小", angle: "角度", flip: "翻转", "keep-interlace": "保留隔行", factor: "倍率", delay: "延时", fps: "帧率", duration: "时长", reverse: "倒放", boomerang: "往返", any: "任意", text: "文字", "font-size": "字号", opacity: "不透明度", at: "坐标", captions: "字幕", margin: "边距", font: "字体", outline: "描边", "outline-color": "描边颜色", image: "图片", frames: "帧", palette: "调色板", dither: "抖动", format: "格式",
  },
  position: { "top-left": "左上", "top-center": "上中", "top-right": "右上", "center-left": "左中", center: "中央", "center-right": "右中", "bottom-left": "左下", "bottom-center": "下中", "bottom-right": "右下" },
  choice: { transparent: "透明", blurred: "模糊", keep: "保持", forever: "永远", once: "一次", none: "无", h: "水平", v: "垂直" },
  what: { "what to keep": "保留什么", "to which size": "目标尺寸", "how large": "多大", "how fast": "快慢", "which way": "方向", "what to write": "内容", "which images": "哪些帧", "what becomes of their time": "时间归属" },
};
const SPOKEN = { rect: "Rectangle", fps: "Images per second", h: "left–right", v: "top–bottom", at: "Free place", color: "Colour", colors: "Colours", "outline-color": "Outline colour" };

let language = 0;

export const setLanguage = (code) => { language = (code ?? "").toLowerCase().startsWith("zh") ? 1 : 0; };
export const languageCode = () => ["en", "zh"][language];
export const has = (key) => key in TABLE;

export const t = (key, values = {}) => TABLE[key][language].replace(/\{(\w+)\}/g, (_, name) => values[name]);

export const named = (kind, name) => {
  const known = language && NAMES[kind]?.[name];
  if (known) return known;
  const words = SPOKEN[name] ?? name.replaceAll("-", " ");
  return kind === "choice" ? words : words[0].toUpperCase() + words.slice(1);
};

export const bytes = (count) => {
  const [size, unit] = count < 1000 ? [count, "B"] : count < 1e6 ? [count / 1000, "kB"] : count < 1e9 ? [count / 1e6, "MB"] : [count / 1e9, "GB"];
  return `${size < 10 && unit !== "B" ? size.toFixed(1) : Math.round(size)} ${unit}`;
};
