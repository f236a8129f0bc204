--- Keys and certificates, made by openssl.
local program = require("spec.support.program")

local certificate = {}

-- Runs openssl in the folder.
local function openssl(folder, ...)
  local result = program.run({ "openssl", ... }, { cwd = folder })
  assert(result.status == 0, result.err)
  return result.out
end

--- NAME.pem and NAME.key for 127.0.0.1, of its own, or signed by `signer`.
function certificate.make(folder, name, signer)
  local argv = {
    "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
    "-nodes", "-subj", "/CN=" .. name, "-keyout", name .. ".key",
    "-out", name .. (signer and ".csr" or ".pem"),
    "-addext", "subjectAltName=IP:127.0.0.1",
  }
  if not signer then
    argv[#argv + 1] = "-x509"
  end
  openssl(folder, unpack(argv))
  if signer then
    openssl(folder, "x509", "-req", "-in", name .. ".csr",
      "-CA", signer .. ".pem", "-CAkey", signer .. ".key", "-CAcreateserial",
      "-copy_extensions", "copy", "-out", name .. ".pem")
  end
end

return certificate
