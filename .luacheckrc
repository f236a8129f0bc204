std = "luajit"
max_line_length = 120
codes = true

files["spec"] = { std = "+busted" }
files["**/spec"] = { std = "+busted" }
