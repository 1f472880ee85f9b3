"""Problems that ONNX Runtime computes (ml.jsonl), for make_op_goldens.py."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from make_op_goldens import ML, Cases, case_json, proto_of


class RuntimeCases(Cases):
    """The operators of ai.onnx.ml, texts, and pools that the conformance suite lacks."""

    def add_by_runtime(self, op, inputs, outputs=1, tolerance=None, untold=(), domain=ML, opset=3, **attributes):
        """The same, computed by ONNX Runtime. untold: outputs on which it is not trusted."""
        import onnxruntime
        inputs = [np.asarray(v) for v in inputs]
        names, results = [f"i{k}" for k in range(len(inputs))], [f"o{k}" for k in range(outputs)]
        node = helper.make_node(op, names, results, domain=domain, **attributes)
        graph = helper.make_graph([node], "g", [
            helper.make_tensor_value_info(
                n, TensorProto.STRING if v.dtype == object else helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in zip(names, inputs)], [helper.make_empty_tensor_value_info(r) for r in results])
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21),
                                                                      helper.make_opsetid(ML, opset)])
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        expected = session.run(None, dict(zip(names, inputs)))
        name = f"{op}_{sum(c['name'].startswith(op + '_') for c in self.cases)}"
        case = case_json(name, node, [proto_of(v) for v in inputs], [proto_of(e) for e in expected])
        if case["rtol"]:  # ONNX Runtime computes these in float
            case["rtol"], case["atol"] = tolerance or (1e-5, 2e-6)
        for output in untold:
            case["outputs"][output] = None
        self.cases.append(case)

    def texts(self):
        text = lambda *v: np.array(v, object)
        run = lambda op, inputs, outputs=1, **a: self.add_by_runtime(op, inputs, outputs, domain="", **a)
        # (ONNX Runtime knows no white space but blanks, and finds no piece in an empty text whatever the delimiter.)
        for more in ({}, {"maxsplit": 1}, {"maxsplit": 0}, {"delimiter": " ", "maxsplit": 2}, {"delimiter": "aa"}):
            run("StringSplit", [text("aa b c", "a", " aaaaa ", "a  b  c d  ")], 2, **more)
        patterns = ["", "a*", "(a|b)*c", "[^a-c]+", "(?i)straße", r"\d{2,3}", r"\pL+", r"\p{Greek}+", ".", "(?s).", "(?m)a$\nb",
                    "a{,2}", r"\Qa.b\E+", "[[:alpha:]]+", r"[\s]", "x|", r"\x{e9}", "(?P<n>a)(?:b)??", "(a+)+b", r"[]a]+", r"\101"]
        samples = text("", "a", "aa", "aaab", "abc", "STRASSE", "STRAßE", "12", "1234", "é", "αβγ", "\n", "\v", "a\nb", "a{,2}",
                       "a.b", "a.bbb", "x", "]a]", "A", "ab", "a" * 40)
        for pattern in patterns:
            run("RegexFullMatch", [samples], pattern=pattern)
        grams = dict(min_gram_length=1, max_gram_length=2, ngram_counts=[0, 3], ngram_indexes=[4, 0, 1, 3, 2])
        for mode in ("TF", "IDF", "TFIDF"):
            for skip in (0, 2):
                run("TfIdfVectorizer", [np.array([[7, 8, 7, 9, 8], [1, 7, 9, 9, 7]])], mode=mode, max_skip_count=skip,
                    pool_int64s=[7, 8, 9, 7, 8, 9, 7], weights=[1.5, 2.0, -1.0, 0.5, 3.0], **grams)
        run("TfIdfVectorizer", [text("b", "a", "c", "a")], mode="TFIDF", max_skip_count=1, pool_strings=list("abcbabc"), **grams)

    def ml_features(self):
        run, f32 = self.add_by_runtime, np.float32
        text = lambda *v: np.array(v, object)
        x = np.array([[1, -2, 3], [0, 0, 0], [-1, -2, -4]], f32)
        for norm in ("MAX", "L1", "L2"):
            for v in (x, x[0], x.astype(np.int64)):
                run("Normalizer", [v], norm=norm)
        for v in (x, x.astype(np.float64), x[0].astype(np.int32)):
            run("Scaler", [v], offset=[1.0, 2.0, 3.0], scale=[2.0, 0.5, -1.0])
            run("Scaler", [v], offset=[0.5], scale=[3.0])
        run("Imputer", [x], imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=-2.0)
        run("Imputer", [x], imputed_value_floats=[7.0])
        run("Imputer", [x.astype(np.int64)], imputed_value_int64s=[7], replaced_value_int64=-2)
        run("FeatureVectorizer", [x, np.ones((3, 2), f32)], inputdimensions=[3, 2])
        run("FeatureVectorizer", [x[0]], inputdimensions=[3])
        run("OneHotEncoder", [np.array([[1.7, 5], [-3, 7]], f32)], cats_int64s=[1, 5, 7])
        run("OneHotEncoder", [np.array([1, 8], np.int64)], cats_int64s=[1, 5, 7], zeros=1)
        run("OneHotEncoder", [text("b", "q", "a")], cats_strings=["a", "b"])
        run("ArrayFeatureExtractor", [np.arange(5, dtype=np.int32), np.array([[3, 0]])])
        run("ArrayFeatureExtractor", [text("a", "b", "c", "d").reshape(1, 2, 2), np.array([1])])
        run("Binarizer", [np.array([[0.5, 1], [-1, 2]], f32)], threshold=0.5)
        run("CategoryMapper", [np.array([[1, 5, 2]])], cats_int64s=[1, 2], cats_strings=["a", "b"], default_string="?")
        run("CategoryMapper", [text("a", "q", "b")], cats_int64s=[1, 2], cats_strings=["a", "b"])
        run("LabelEncoder", [np.array([1.5, np.nan, 2.5, -0.0], f32)], opset=4, values_strings=["a", "b", "c"],
            keys_floats=[1.5, 2.5, 0.0], default_string="none")
        run("LabelEncoder", [np.array([3, 4], np.int64)], opset=4, keys_int64s=[3], values_floats=[0.25])
        run("LabelEncoder", [text("x", "y")], opset=4, keys_strings=["x", "y"], values_strings=["1", "2"])
        nan_keys = numpy_helper.from_array(np.array([np.nan, 1]), "k")
        run("LabelEncoder", [np.array([np.nan, 1, 2])], opset=4, keys_tensor=nan_keys,
            values_tensor=numpy_helper.from_array(np.array([5, 6], np.int64), "v"),
            default_tensor=numpy_helper.from_array(np.array([-9], np.int64), "d"))

    def ml_linear(self):
        run, f32 = self.add_by_runtime, np.float32
        y = np.array([[1, -2], [0.5, 1], [0, 0.25]], f32)
        transforms = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
        vectors = dict(support_vectors=[1.0, 2.0, -1.0, 0.5, 0.0, -1.0])
        for transform in transforms:
            run("LinearRegressor", [y], coefficients=[1.0, 2.0, 0.5, -1.0], intercepts=[0.1, 0.2], targets=2,
                post_transform=transform)
            run("LinearClassifier", [y], 2, coefficients=[1.0, 2.0, 0.5, -1.0, 0.0, 1.0], intercepts=[0.1, 0.2, 0.3],
                classlabels_strings=["a", "b", "c"], post_transform=transform, multi_class=1)
            run("LinearClassifier", [y], 2, coefficients=[1.0, 2.0, -1.0, 0.5], intercepts=[0.1, 0.2],
                classlabels_ints=[7, 3], post_transform=transform)
            run("LinearClassifier", [y], 2, coefficients=[1.0, 2.0], intercepts=[0.1], classlabels_ints=[7, 3],
                post_transform=transform)
            machine = dict(kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0], post_transform=transform, **vectors)
            three = dict(classlabels_strings=["a", "b", "c"], vectors_per_class=[1, 1, 1],
                         coefficients=[0.3, -0.2, 0.7, 1.0, -0.5, 0.25], rho=[0.1, -0.2, 0.05], **machine)
            two = dict(classlabels_ints=[4, 5], vectors_per_class=[2, 1], coefficients=[0.3, -0.2, 0.7], rho=[-0.4], **machine)
            run("SVMClassifier", [y], 2, **three)
            run("SVMClassifier", [y], 2, prob_a=[0.5, -1.0, 2.0], prob_b=[0.1, 0.2, -0.3], **three)
            run("SVMClassifier", [y], 2, **two)
            run("SVMClassifier", [y], 2, prob_a=[-1.5], prob_b=[0.1], **two)
            run("SVMClassifier", [y], 2, classlabels_ints=[4, 5, 6], kernel_type="LINEAR", kernel_params=[0.0] * 3,
                coefficients=[0.3, -0.2, 0.7, 1.0, -1.0, -1.0], rho=[0.1], post_transform=transform)
        run("LinearRegressor", [y], coefficients=[1.0, 2.0], intercepts=[0.1])
        run("LinearRegressor", [y[0]], coefficients=[0.5, 2.0])
        run("LinearRegressor", [y[2:]], coefficients=[0.3, 1.0], intercepts=[0.1], post_transform="PROBIT",
            tolerance=(1e-3, 1e-3))
        for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
            run("SVMRegressor", [y], kernel_type=kernel, kernel_params=[0.5, 0.25, 3.0], coefficients=[0.3, -0.2, 0.7],
                n_supports=3, rho=[0.1], **vectors)
        run("SVMRegressor", [y], kernel_type="RBF", kernel_params=[0.5, 0.25, 3.0], coefficients=[0.3, -0.2, 0.7],
            n_supports=3, rho=[-0.4], one_class=1, **vectors)
        run("SVMRegressor", [y], kernel_type="LINEAR", kernel_params=[0.0] * 3, coefficients=[0.3, -0.2], rho=[0.1])

    def ml_trees(self):
        run, f32 = self.add_by_runtime, np.float32
        x = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [np.nan, np.nan], [0.5, 0.25]], f32)
        nodes = dict(nodes_treeids=[0, 0, 0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2],
                     nodes_featureids=[0, 1, 0, 0, 0, 1, 0, 0], nodes_values=[0.5, 0.75, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0],
                     nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0],
                     nodes_missing_value_tracks_true=[1, 0, 0, 0, 0, 1, 0, 0])
        modes = lambda *v: [v[0], v[1], "LEAF", "LEAF", "LEAF", v[2], "LEAF", "LEAF"]
        leaves = lambda prefix, votes: {f"{prefix}_treeids": [0, 0, 0, 1, 1] * votes, f"{prefix}_nodeids": [2, 3, 4, 1, 2] * votes}
        plain = modes("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE")
        two = dict(target_ids=[0] * 5 + [1] * 5, n_targets=2, **leaves("target", 2), **nodes)
        weights = [0.1, 0.2, -0.3, 0.4, 0.5, 0.6, -0.1, 0.3, 0.2, 0.7]
        for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
            run("TreeEnsembleRegressor", [x], aggregate_function=aggregate, base_values=[0.5, 0.25], nodes_modes=plain,
                target_weights=weights, **two)
        for names in (("BRANCH_GT", "BRANCH_GTE", "BRANCH_LT"), ("BRANCH_EQ", "BRANCH_LEQ", "BRANCH_GT")):
            run("TreeEnsembleRegressor", [x], nodes_modes=modes(*names), target_weights=weights, **two)
        run("TreeEnsembleRegressor", [x], nodes_modes=plain, target_ids=[0] * 5, n_targets=1, target_weights=weights[:5],
            **leaves("target", 1), **nodes)
        run("TreeEnsembleRegressor", [x[:4].astype(np.float64)], nodes_modes=plain, target_ids=[0] * 5, n_targets=1,
            target_weights=weights[:5], **leaves("target", 1), **nodes)
        classes = dict(nodes_modes=plain, **leaves("class", 2), **nodes)
        one = dict(nodes_modes=plain, class_ids=[0] * 5, classlabels_int64s=[5, 6], **leaves("class", 1), **nodes)
        for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
            run("TreeEnsembleRegressor", [x], nodes_modes=plain, target_weights=weights, post_transform=transform, **two)
            run("TreeEnsembleClassifier", [x], 2, classlabels_strings=["a", "b", "c"], class_ids=[0, 1, 2, 0, 1, 1, 2, 0, 2, 0],
                class_weights=weights, base_values=[0.25, 0.3, 0.35], post_transform=transform, **classes)
            # (Of two classes with scores of their own ONNX Runtime names neither, but 0 or 1.)
            run("TreeEnsembleClassifier", [x], 2, untold=[0], classlabels_int64s=[8, 9], class_ids=[0] * 5 + [1] * 5,
                class_weights=weights, post_transform=transform, **classes)
            run("TreeEnsembleClassifier", [x], 2, class_weights=[0.1, 0.2, -0.3, -0.15, 0.5], post_transform=transform, **one)
            run("TreeEnsembleClassifier", [x], 2, class_weights=[0.1, 0.2, 0.3, 0.25, 0.45], post_transform=transform, **one)
            if transform == "LOGISTIC":
                run("TreeEnsembleClassifier", [x], 2, class_weights=[0.1, 0.2, -0.3, -0.15, 0.5], base_values=[0.4],
                    post_transform=transform, **one)
        run("TreeEnsembleClassifier", [x], 2, class_weights=[0.1, 0.2, 0.3, 0.25, 0.45], **{**one, "class_ids": [1] * 5})
        tensor = lambda *v, dtype=f32: numpy_helper.from_array(np.array(v, dtype), "t")
        # ONNX numbers softmax 1 and logistic 2; ONNX Runtime 1.31 takes them the other way round.
        for transform, in_runtime in ((0, 0), (1, 2), (2, 1), (3, 3)):
            for aggregate in (0, 1, 2, 3):
                run("TreeEnsemble", [x], opset=5, n_targets=2, aggregate_function=aggregate, post_transform=in_runtime,
                    tree_roots=[0, 2], nodes_modes=tensor(0, 3, 1, dtype=np.uint8), nodes_splits=tensor(0.5, 0.25, 0.75),
                    nodes_featureids=[0, 1, 1], nodes_truenodeids=[1, 0, 3], nodes_falsenodeids=[2, 1, 4],
                    nodes_trueleafs=[0, 1, 1], nodes_falseleafs=[1, 1, 1], leaf_targetids=[0, 1, 0, 1, 0],
                    leaf_weights=tensor(0.1, -0.2, 0.3, 0.4, -0.5), nodes_missing_value_tracks_true=[1, 0, 1])
                self.cases[-1]["attributes"]["post_transform"] = transform

    def vision(self):
        x = self.normal(2, 3, 6, 5)
        for p in (1, 2, 3):
            self.add_by_runtime("GlobalLpPool", [x], domain="", p=p)
        regions = np.asarray([[0, 0, 0, 4, 5], [1, 1, 1, 3, 3], [0, 2, 2, 2, 2]], np.float32)
        for scale in (1.0, 0.5):
            self.add_by_runtime("MaxRoiPool", [x, regions], domain="", pooled_shape=[2, 2], spatial_scale=scale)
