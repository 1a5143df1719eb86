import importlib
import subprocess
import sys

import denoisight

PUBLIC = {
    "Annotation", "Batch", "Boxes", "DataError", "DenoisightError", "Depth", "Labels", "Mask",
    "MissingExtraError", "Model", "Normals", "Prediction", "ProtocolError", "Query", "RecipeError",
    "Sample", "Session", "SessionError", "UsageError", "WeightsError", "__version__", "create_images",
    "edit_images", "load", "open_data",
}  # fmt: skip


def test_public_names_are_these_and_can_be_imported() -> None:
    assert set(denoisight.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(denoisight, name) is not None


def test_importing_the_package_or_the_command_imports_no_torch() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'pydantic', 'huggingface_hub'}"
    code = f"import sys, denoisight, denoisight.cli; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_recipes_can_be_shown_without_torch() -> None:
    code = "import sys, denoisight.cli.config, denoisight.cli.train; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_torchvision_is_absent_or_works() -> None:
    if importlib.util.find_spec("torchvision") is not None:
        importlib.import_module("torchvision")
    assert "torchvision" not in denoisight.__all__
