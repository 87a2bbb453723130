// Go's archive/zip as a reader and as a writer.
//
//	zips read FOLDER         prints archive -> [[name, size, sha256], ...] or a reason
//	zips write FOLDER FILE   packs a folder in one go, so that descriptors stand behind the data
package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func contents(path string) ([][3]any, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	found := [][3]any{}
	for _, file := range archive.File {
		reader, err := file.Open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		hash := sha256.New()
		size, err := io.Copy(hash, reader)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		reader.Close()
		found = append(found, [3]any{file.Name, size, hex.EncodeToString(hash.Sum(nil))})
	}
	return found, nil
}

func read(folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return err
	}
	report := map[string]any{}
	for _, path := range paths {
		found, err := contents(path)
		if err != nil {
			report[filepath.Base(path)] = err.Error()
		} else {
			report[filepath.Base(path)] = found
		}
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func write(folder, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := zip.NewWriter(file)
	if err := archive.AddFS(os.DirFS(folder)); err != nil {
		return err
	}
	return archive.Close()
}

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "read":
		err = read(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "write":
		err = write(os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("zips read FOLDER or zips write FOLDER FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
