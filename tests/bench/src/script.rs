//! The Lua script that the filter is compared with.

/// Returns a script that picks one of two clusters for each request to `host`, and writes its name to `header`. It does
/// what the filter does for a split by weight, except that it counts nothing.
pub(crate) fn lua(host: &str, header: &str, clusters: &[String; 2]) -> String {
    let [first, second] = clusters;
    format!(
        r#"local splits = {{
  ["{host}"] = {{total = 100, {{weight = 50, cluster = "{first}"}}, {{weight = 50, cluster = "{second}"}}}},
}}

function envoy_on_request(handle)
  local headers = handle:headers()
  local split = splits[headers:get(":authority")]
  if split == nil then
    return
  end
  local number = math.random(split.total)
  for _, backend in ipairs(split) do
    number = number - backend.weight
    if number <= 0 then
      headers:replace("{header}", backend.cluster)
      return
    end
  end
end
"#
    )
}
