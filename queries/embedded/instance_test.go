package embedded

import "testing"

// TestSettings: an instance has what it is started with, before and after it is locked.
func TestSettings(t *testing.T) {
	in, err := openInstance(t.Context(), Config{Memory: 64 << 20}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.lock(t.Context(), nil, 2); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"threads": "2", "memory_limit": "64.0 MiB", "temp_directory": "", "max_temp_directory_size": "0 bytes", "TimeZone": "UTC",
		"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "allow_community_extensions": "false", "allow_persistent_secrets": "false",
		"enable_external_file_cache": "false", "enable_object_cache": "false", "parquet_metadata_cache": "false", "errors_as_json": "true", "catalog_error_max_schemas": "0",
		"enable_external_access": "false", "lock_configuration": "true",
	} {
		got, err := in.scan(t.Context(), "SELECT CAST(current_setting(?) AS VARCHAR)", name)
		if got != want || err != nil {
			t.Errorf("%s is %q, error %v, want %q", name, got, err, want)
		}
	}
}
